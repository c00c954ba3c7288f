// What comes from outside reaches the page as text alone: textContent, value, and never as markup.

const QUOTE_AFTER_MS = 300;
const STREAM_AGAIN_MS = 2000;
const STAGES = {
  reserved: "Paid for",
  dialing: "Dialling",
  ringing: "Ringing",
  answered: "Answered",
  joined: "In the meeting",
  ended: "Ended",
  refused: "Refused",
};
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });
const LAST_STAGES = new Set(["ended", "refused"]);
const KINDS = { call_me: "Call me", add_participant: "Added" };
const KIND_HINTS = {
  call_me: "Your telephone rings. Answer it, and press 1 to join.",
  add_participant: "Their telephone rings, and they are in the meeting when they answer.",
};

const form = document.getElementById("ask");
const numberField = document.getElementById("number");
const quoteLine = document.getElementById("quote");
const faultLine = document.getElementById("fault");
const callButton = document.getElementById("call");
const me = document.getElementById("me");
const calls = new Map();

/** Ask our own back end. A back end that is away is an answer, too. */
async function ask(method, path, body) {
  const request = { method, headers: {} };
  if (body !== undefined) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  try {
    const response = await fetch(path, request);
    const text = await response.text();
    return { status: response.status, ok: response.ok, body: text ? JSON.parse(text) : {} };
  } catch {
    const message = "The page's server does not answer. Is dialout demo still running?";
    return { status: 503, ok: false, body: { reason: "page_away", message } };
  }
}

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function button(text, act, attributes = {}) {
  const made = element("button", text, { type: "button", ...attributes });
  made.addEventListener("click", act);
  return made;
}

const kind = () => form.elements.kind.value;

// ---- the meeting and who is here

async function load() {
  const answer = await ask("GET", "api/state");
  if (!answer.ok) {
    faultLine.textContent = answer.body.message;
    return;
  }
  const { meeting, participants, me: mine, calls: known, samples } = answer.body;
  document.getElementById("meeting").textContent = meeting;
  document.title = `${meeting}: call a telephone`;
  me.replaceChildren(
    ...participants.map((each) => element("option", each.name, { value: each.participant_id })),
  );
  me.value = mine;
  showSamples(samples);
  known.forEach(show);
  if (known.length > 0) listen();
  showKind();
  await showRecent();
}

function showSamples(samples) {
  document.getElementById("samples").hidden = samples.length === 0;
  document.querySelector("#samples tbody").replaceChildren(
    ...samples.map(({ number, what }) => {
      const row = document.createElement("tr");
      const cell = document.createElement("td");
      cell.append(button(number, () => choose(number)));
      row.append(cell, element("td", what));
      return row;
    }),
  );
}

me.addEventListener("change", async () => {
  const answer = await ask("PUT", "api/me", { participant_id: me.value });
  faultLine.textContent = answer.ok ? "" : answer.body.message;
  await Promise.all([showRecent(), showQuote()]);
});

// ---- the number, and what a call to it would cost

function showKind() {
  document.getElementById("kind-hint").textContent = KIND_HINTS[kind()];
}

function choose(number) {
  numberField.value = number;
  numberField.focus();
  showQuote();
}

async function showRecent() {
  const answer = await ask("GET", "api/numbers");
  const numbers = answer.ok ? answer.body.numbers.map((each) => each.destination) : [];
  const recent = document.getElementById("recent");
  recent.hidden = numbers.length === 0;
  recent.querySelector("ul").replaceChildren(
    ...numbers.map((number) => {
      const item = document.createElement("li");
      item.append(
        button(number, () => choose(number)),
        button("×", () => forget(number), { "aria-label": `Forget ${number}` }),
      );
      return item;
    }),
  );
}

async function forget(number) {
  await ask("DELETE", `api/numbers/${encodeURIComponent(number)}`);
  await showRecent();
  numberField.focus();
}

let quoteTimer;
let quoteAsked = 0;

async function showQuote() {
  clearTimeout(quoteTimer);
  const asked = ++quoteAsked;
  const number = numberField.value.trim();
  const answer = number && (await ask("POST", "api/quotes", { kind: kind(), number }));
  // Another number was typed meanwhile: its answer is the one to show.
  if (asked !== quoteAsked) return;
  quoteLine.classList.toggle("refused", Boolean(answer) && !answer.body.allowed);
  quoteLine.textContent = answer ? (answer.body.sentence ?? answer.body.message) : "";
}

numberField.addEventListener("input", () => {
  faultLine.textContent = "";
  numberField.removeAttribute("aria-invalid");
  clearTimeout(quoteTimer);
  quoteTimer = setTimeout(showQuote, QUOTE_AFTER_MS);
});

form.addEventListener("change", (event) => {
  if (event.target.name !== "kind") return;
  showKind();
  showQuote();
});

// ---- calls

// The same until the answer is known, so that pressing the button again calls nobody twice.
let nextCallId = crypto.randomUUID();

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const number = numberField.value.trim();
  if (!number) {
    complain("Type a telephone number first.");
    return;
  }
  callButton.disabled = true;
  faultLine.textContent = "";
  const asked = { call_id: nextCallId, kind: kind(), number };
  const answer = await ask("POST", "api/calls", asked);
  callButton.disabled = false;
  if (answer.status < 500 || answer.body.reason === "call_not_placed") {
    nextCallId = crypto.randomUUID();
  }
  if (answer.ok) {
    show(answer.body);
    listen();
  } else {
    complain(answer.body.message);
  }
});

function complain(message) {
  faultLine.textContent = message;
  numberField.setAttribute("aria-invalid", "true");
  numberField.focus();
}

/** Return a call as it is shown, which it is from now on. */
function show(call) {
  if (calls.has(call.call_id)) return calls.get(call.call_id);
  const item = document.getElementById("call-template").content.firstElementChild.cloneNode(true);
  item.querySelector(".call-number").textContent = call.number;
  item.querySelector(".call-kind").textContent = KINDS[call.kind] ?? "";
  const shown = { ...call, item, stages: new Set(), gone: false };
  item.querySelector(".cancel").addEventListener("click", () => end(shown));
  item.querySelector(".call-back").addEventListener("click", () => callAgain(shown));
  calls.set(call.call_id, shown);
  showActions(shown);
  document.getElementById("no-calls").hidden = true;
  document.getElementById("calls").prepend(item);
  return shown;
}

const isOver = (call) => call.gone || [...LAST_STAGES].some((stage) => call.stages.has(stage));

let stream = null;

/** Hear of all calls, over one connection: a browser has six for a host, and acts need some. */
function listen() {
  if (stream) return;
  stream = new EventSource("api/events");
  for (const stage of Object.keys(STAGES)) {
    stream.addEventListener(stage, (event) => {
      const { call, ...data } = JSON.parse(event.data);
      step(show(call), stage, data);
    });
  }
  stream.addEventListener("gone", (event) => {
    const { call, text } = JSON.parse(event.data);
    if (calls.has(call.call_id)) lose(calls.get(call.call_id), text);
  });
  stream.addEventListener("error", () => {
    if ([...calls.values()].every(isOver)) {
      hush();
    } else if (stream.readyState === EventSource.CLOSED) {
      // The browser reconnects by itself, except where it was answered with an error.
      hush();
      setTimeout(listen, STREAM_AGAIN_MS);
    }
  });
}

function hush() {
  stream.close();
  stream = null;
}

function lose(call, text) {
  call.gone = true;
  call.item.querySelector(".fault").textContent = text;
  showActions(call);
}

function find(call) {
  call.gone = false;
  call.item.querySelector(".fault").textContent = "";
}

function step(call, stage, data) {
  // After a reconnection the first steps come once more.
  if (call.stages.has(stage)) return;
  call.stages.add(stage);
  if (call.gone) find(call);
  const at = new Date(data.at);
  const time = element("time", CLOCK.format(at), { datetime: at.toISOString() });
  const line = element("li", "", { "data-stage": stage });
  line.append(time, element("span", data.text));
  call.item.querySelector(".steps").append(line);
  call.item.className = `call ${stage}`;
  call.item.querySelector(".call-state").textContent = STAGES[stage];
  document.getElementById("news").textContent = `${call.number}: ${data.text}`;
  showActions(call);
  if (stage === "ended") showRecent();
}

function showActions(call) {
  const answered = call.stages.has("answered");
  const cancel = call.item.querySelector(".cancel");
  cancel.hidden = isOver(call);
  cancel.textContent = answered ? "Hang up" : "Cancel";
  cancel.setAttribute("aria-label", `${cancel.textContent}: ${call.number}`);
  const callBack = call.item.querySelector(".call-back");
  callBack.hidden = !(call.kind === "call_me" && answered) || isCalledBack(call);
  callBack.setAttribute("aria-label", `Call me back: ${call.number}`);
  if (calls.has(call.back_of)) showActions(calls.get(call.back_of));
}

const isCalledBack = (call) =>
  [...calls.values()].some((each) => each.back_of === call.call_id && !isOver(each));

async function end(call) {
  await act(call, ".cancel", ask("DELETE", `api/calls/${encodeURIComponent(call.call_id)}`));
}

async function callAgain(call) {
  const path = `api/calls/${encodeURIComponent(call.call_id)}/call-back`;
  const answer = await act(call, ".call-back", ask("POST", path));
  if (!answer.ok) return;
  show(answer.body);
  listen();
}

async function act(call, selector, asking) {
  const pressed = call.item.querySelector(selector);
  pressed.disabled = true;
  const answer = await asking;
  pressed.disabled = false;
  call.item.querySelector(".fault").textContent = answer.ok ? "" : answer.body.message;
  return answer;
}

load();
