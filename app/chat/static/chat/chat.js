// The chat page. It opens one WebSocket to the site's own address, with no port: nginx decides which Daphne
// answers. Everything that people write is put on the page as text, never as markup.
"use strict";

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 15000;
const MESSAGES_SHOWN = 500;
const RESEND_AFTER_MS = 1000;

// Close codes after which trying again would end the same way, and what to tell the reader.
const FINAL_CODES = new Map([
  [4409, "This room's name is not allowed."],
]);
// Close codes that say what the last message did wrong; the page connects again.
const REASONS = new Map([
  [1012, "The server is restarting."],
  [1011, "The server met a fault of its own."],
  [4400, "The server did not understand the last message."],
  [4408, "This page was too slow to read what the room said."],
  [4413, "The last message was too long."],
  [4415, "The server takes text only."],
  [4429, "Too many messages at once."],
  [4503, "The server cannot take part in the room just now."],
]);

const byId = (id) => document.getElementById(id);
const chat = byId("chat");
const messages = byId("messages");
const address = `wss://${location.host}/ws/chat/${encodeURIComponent(chat.dataset.room)}/`;

let socket = null;
let retries = 0;
let sent = 0;
let myself = null; // the server's name for the present socket
let lastId = null; // the newest message seen, where the server keeps history
const mine = new Set(); // the names of all sockets that this page has had
const unheard = new Map(); // what was said and has not come back, by number; kept where the server keeps history
let earlier = []; // the numbers of those said over sockets that ended

function connect() {
  socket = new WebSocket(address);
  socket.onmessage = (event) => receive(JSON.parse(event.data));
  socket.onclose = (event) => closed(event.code);
}

function receive(frame) {
  if (frame.type === "welcome") {
    welcome(frame);
  } else if (frame.type === "message") {
    show(frame);
  } else if (frame.type === "presence") {
    showPresence(frame.present);
  } else if (frame.type === "resumed") {
    resumed(frame);
  } else if (frame.type === "undelivered") {
    unheard.delete(frame.n);
    byId("problem").textContent = "The last message reached nobody: the server's relay is away. Send it again.";
  }
}

function welcome(frame) {
  retries = 0;
  myself = frame.client;
  mine.add(myself);
  byId("instance").textContent = frame.instance;
  byId("served").hidden = false;
  setState("connected", "Connected,");
  showPresence(frame.present);
  if (frame.last_id !== null) {
    if (lastId !== null) {
      earlier = [...unheard.keys()];
      socket.send(JSON.stringify({ type: "resume", last_id: lastId }));
    } else {
      lastId = frame.last_id;
    }
  }
}

// What was missed comes page by page. After the last one, what this page said while its socket ended, and has not
// heard, is said again; a moment later, since the server may have taken it just after the new socket was there.
function resumed(page) {
  if (page.more) {
    socket.send(JSON.stringify({ type: "resume", last_id: page.last_id }));
    return;
  }
  const here = socket;
  setTimeout(() => {
    for (const n of earlier.filter((number) => unheard.has(number))) {
      if (here.readyState === WebSocket.OPEN) {
        here.send(unheard.get(n));
      }
    }
  }, RESEND_AFTER_MS);
}

// Exponential back-off. The random part spreads the clients of a stopped instance, so that they do not all
// come back to the others in the same moment.
function closed(code) {
  byId("served").hidden = true;
  byId("here").hidden = true;
  if (FINAL_CODES.has(code)) {
    setState("closed", FINAL_CODES.get(code));
    return;
  }
  const longest = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** retries);
  const wait = longest / 2 + (Math.random() * longest) / 2;
  retries += 1;
  const reason = REASONS.get(code) ?? "The connection was lost.";
  setState("waiting", `${reason} Connecting again in ${Math.ceil(wait / 1000)} s…`);
  setTimeout(connect, wait);
}

function setState(state, words) {
  byId("status").dataset.state = state;
  byId("state").textContent = words;
  byId("send").disabled = state !== "connected";
}

function showPresence(present) {
  byId("present").textContent = String(present);
  byId("people").textContent = present === 1 ? "page" : "pages";
  byId("here").hidden = false;
}

function show(frame) {
  if (messages.querySelector(`[data-id="${CSS.escape(frame.id)}"]`)) {
    return;
  }
  const atEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 60;
  const own = mine.has(frame.client);
  if (own) {
    unheard.delete(frame.n);
  }
  const item = document.createElement("li");
  item.dataset.id = frame.id;
  item.className = own ? "own" : "";
  item.append(line("who", own ? "You" : `Client ${frame.client.slice(0, 6)}`, "ltr"));
  item.append(line("text", frame.text, "auto"));
  const way = frame.via === frame.instance ? `on ${frame.via}` : `${frame.via} → ${frame.instance}`;
  item.append(line("way", way, "ltr"));
  place(item);
  byId("empty").hidden = true;
  while (messages.children.length > MESSAGES_SHOWN) {
    messages.firstElementChild.remove();
  }
  if (atEnd || own) {
    messages.scrollTop = messages.scrollHeight;
  }
}

function line(name, text, direction) {
  const element = document.createElement("p");
  element.className = name;
  element.dir = direction;
  element.textContent = text;
  return element;
}

// Messages arrive in order, except that those missed while away may come after one that was just said.
function place(item) {
  let before = messages.lastElementChild;
  if (lastId !== null) {
    while (before !== null && isLater(before.dataset.id, item.dataset.id)) {
      before = before.previousElementSibling;
    }
    if (isLater(item.dataset.id, lastId)) {
      lastId = item.dataset.id;
    }
  }
  if (before === null) {
    messages.prepend(item);
  } else {
    before.after(item);
  }
}

// Ids are "milliseconds-number" where history is kept.
function isLater(one, other) {
  const [milliseconds, number] = one.split("-").map(Number);
  const [otherMilliseconds, otherNumber] = other.split("-").map(Number);
  return milliseconds > otherMilliseconds || (milliseconds === otherMilliseconds && number > otherNumber);
}

byId("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = byId("text");
  if (field.value.trim() === "" || socket.readyState !== WebSocket.OPEN || byId("send").disabled) {
    return;
  }
  byId("problem").textContent = "";
  sent += 1;
  const said = JSON.stringify({ type: "message", text: field.value, n: sent, sent_s: Date.now() / 1000 });
  if (lastId !== null) {
    unheard.set(sent, said);
  }
  socket.send(said);
  field.value = "";
  field.focus();
});

connect();
