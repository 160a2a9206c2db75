// One page again and again by k6, on connections that are kept: a closed loop, or on a schedule.
//
//   k6 run --out csv=run.csv -e url=https://web.example -e users=20 -e duration_s=10 -e path=/healthz page.js
//
//   -e          default   what it is
//   url                   the site; TLS is verified against SSL_CERT_FILE. 'fab load' gives both itself
//   users       10        virtual users
//   duration_s  30
//   path        /
//   per_s                 requests start so often, whole number, however slow answers are; without it a closed loop

import http from "k6/http";

const told = Object.assign({ users: "10", duration_s: "30", path: "/", per_s: "" }, __ENV);
const users = Number(told.users);
const duration = `${told.duration_s}s`;

export const options = {
  discardResponseBodies: true,
  scenarios: {
    page: told.per_s
      ? { executor: "constant-arrival-rate", rate: Number(told.per_s), duration, preAllocatedVUs: users, maxVUs: 10 * users }
      : { executor: "constant-vus", vus: users, duration },
  },
};

export default function () {
  http.get(told.url + told.path, { timeout: "75s" });
}
