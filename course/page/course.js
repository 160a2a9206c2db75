// What a page of the course does: predictions that are sealed, scores, figures with controls. No network, no kernel.
"use strict";

const WORDS = JSON.parse(document.getElementById("words").textContent);  // stacklab/lesson_words.py
const lesson = location.pathname.split("/").pop().replace(".html", "");
const kept = {
  key: (question) => `stacklab/${lesson}/${question}`,
  get(question) {
    try { return JSON.parse(localStorage.getItem(this.key(question))); } catch { return null; }
  },
  set(question, answers) {
    try { localStorage.setItem(this.key(question), JSON.stringify(answers)); } catch { /* a browser that keeps nothing */ }
  },
};

function element(name, text, attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  if (text !== undefined) made.textContent = text;
  return made;
}

const figures = (value) => (typeof value === "number" ? String(Number(value.toPrecision(3))) : value ?? "–");

// ---------------------------------------------------------------- predictions

/** The cells after the one that `inside` stands in. */
function cellsAfter(inside) {
  const cells = [...document.querySelectorAll("main .jp-Cell, main .cell")];
  return cells.slice(cells.indexOf(inside.closest(".jp-Cell, .cell")) + 1);
}

function cover(form, covered) {
  for (const cell of cellsAfter(form)) cell.classList.toggle("covered", covered);
}

function ask(form) {
  const { question } = form.dataset, names = JSON.parse(form.dataset.answers), choices = JSON.parse(form.dataset.choices);
  const before = kept.get(question);
  if (before) return before.skipped ? skipped(form) : told(form, before);
  const fields = names.map((name) => {
    const field = choices.length ? element("select") : element("input", undefined, { inputMode: "decimal", size: 8 });
    for (const choice of choices.length ? ["", ...choices] : []) field.append(element("option", choice || "…", { value: choice }));
    const label = element("label", `${name} `);
    label.append(field);
    form.append(label);
    return field;
  });
  const said = element("p", WORDS.ask), seal = element("button", WORDS.seal), skip = element("button", WORDS.skip);
  seal.onclick = () => {
    const values = fields.map((field) => (choices.length ? field.value : Number(field.value.trim() || NaN)));
    const wrong = values.findIndex((value) => (choices.length ? value === "" : !Number.isFinite(value)));
    if (wrong >= 0) { said.textContent = `${names[wrong]}: ${choices.length ? "…" : WORDS.wrong}`; return fields[wrong].focus(); }
    const answers = Object.fromEntries(names.map((name, place) => [name, values[place]]));
    kept.set(question, answers);
    told(form, answers);
  };
  skip.onclick = () => { kept.set(question, { skipped: true }); skipped(form); };
  form.append(seal, skip, said);
}

/** A way to begin anew: all that this lesson keeps is forgotten. */
function anew() {
  const button = element("button", WORDS.anew);
  button.onclick = () => {
    for (const form of document.querySelectorAll(".prediction")) localStorage.removeItem(kept.key(form.dataset.question));
    location.reload();
  };
  return button;
}

function skipped(form) {
  form.replaceChildren(element("p", WORDS.not_predicted), anew());
  uncoverNext();
}

function told(form, answers) {
  const said = Object.entries(answers).map(([name, value]) => `${name}: ${figures(value)}`).join("; ");
  form.replaceChildren(element("p", WORDS.sealed.replace("{said}", said)), anew());
  form.dataset.sealed = JSON.stringify(answers);
  uncoverNext();
}

/** What is covered is what stands after the first form that still waits. */
function uncoverNext() {
  const forms = [...document.querySelectorAll(".prediction")];
  for (const cell of document.querySelectorAll(".covered")) cell.classList.remove("covered");
  const waiting = forms.find((form) => form.querySelector("input, select"));
  if (waiting) cover(waiting, true);
  document.querySelectorAll(".score").forEach(score);
}

function score(place) {
  const measured = JSON.parse(place.dataset.measured);
  const form = [...document.querySelectorAll(".prediction")].find((each) => each.dataset.question === place.dataset.question);
  const answers = form?.dataset.sealed ? JSON.parse(form.dataset.sealed) : null;
  const table = element("table"), head = table.createTHead().insertRow();
  for (const word of [WORDS.what, WORDS.predicted, WORDS.measured, WORDS.how_near]) head.append(element("th", word));
  for (const [what, found] of Object.entries(measured)) {
    const row = table.insertRow(), answer = answers?.[what];
    const [value, low, high] = Array.isArray(found) ? found : [found, null, null];
    const interval = low !== null && high !== null ? ` (${figures(low)} … ${figures(high)})` : "";
    for (const text of [what, figures(answer), figures(value) + interval, nearness(answer, value, low, high)]) row.append(element("td", text));
  }
  place.replaceChildren(table, ...(answers ? [] : [element("p", WORDS.not_predicted)]));
}

function nearness(answer, value, low, high) {
  if (answer === undefined || answer === null) return "";
  if (typeof value !== "number") return answer === value ? WORDS.hit : WORDS.miss;
  const off = answer === value ? 1 : answer * value > 0 ? Math.max(answer / value, value / answer) : Infinity;
  const hit = low !== null && high !== null ? low <= answer && answer <= high : off <= 1.1;
  return hit ? WORDS.hit : WORDS.off.replace("{times}", figures(off));
}

// ---------------------------------------------------------------- figures with controls

function control(form, word, options, change) {
  const label = element("label", `${word} `), select = element("select");
  for (const [value, text] of options) select.append(element("option", text, { value }));
  select.onchange = change;
  label.append(select);
  if (options.length > 1) form.append(label);
  return select;
}

function recorded(place) {
  const rows = JSON.parse(place.dataset.rows), metrics = JSON.parse(place.dataset.metrics);
  const distinct = (name) => [...new Set(rows.map((row) => row[name]))];
  const form = element("form"), box = element("div");
  const every = (name) => [["", WORDS.all], ...distinct(name).map((value) => [value, value])];
  const metric = control(form, WORDS.show, Object.entries(metrics), draw);
  const repeat = control(form, WORDS.repeat, every("repeat"), draw);
  const machine = control(form, WORDS.machine, distinct("machine").length > 1 ? every("machine") : [["", WORDS.all]], draw);

  function draw() {
    const shown = rows.filter((row) => (!repeat.value || String(row.repeat) === repeat.value) && (!machine.value || row.machine === machine.value));
    const points = distinct("point"), ink = getComputedStyle(document.body).color;
    box.replaceChildren(Plot.plot({
      width: 860, height: 85 + 34 * points.length, marginBottom: 52, marginLeft: 30 + 7 * Math.max(...points.map((point) => point.length)),
      style: { background: "transparent", color: ink, fontSize: "14px" },
      x: { label: metrics[metric.value], zero: true, grid: true, nice: true }, y: { domain: points, label: null },
      marks: [
        Plot.tickX(shown.filter((row) => row.sound), Plot.groupY({ x: "median" }, { x: metric.value, y: "point", stroke: ink, strokeWidth: 3 })),
        Plot.dot(shown, {
          x: metric.value, y: "point", r: 5, stroke: "#0072B2", fill: (row) => (row.sound ? "#0072B2" : "none"), fillOpacity: 0.55,
          tip: true, title: (row) => `${row.point}\n${figures(row[metric.value])}\n${WORDS.repeat} ${row.repeat}${row.sound ? "" : `, ${WORDS.disturbed}`}`,
        }),
      ],
    }));
  }
  place.append(element("b", place.dataset.title), form, box);
  draw();
}

document.querySelectorAll(".recorded").forEach(recorded);
document.querySelectorAll(".prediction").forEach(ask);
uncoverNext();
