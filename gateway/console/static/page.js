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
  } else {
    complain(answer.body.message);
  }
});

function complain(message) {
  faultLine.textContent = message;
  numberField.setAttribute("aria-invalid", "true");
  numberField.focus();
}

function show(call) {
  if (calls.has(call.call_id)) return;
  const item = document.getElementById("call-template").content.firstElementChild.cloneNode(true);
  item.querySelector(".call-number").textContent = call.number;
  item.querySelector(".call-kind").textContent = KINDS[call.kind] ?? "";
  const shown = { ...call, item, stages: new Set() };
  const cancel = item.querySelector(".cancel");
  const callBack = item.querySelector(".call-back");
  cancel.addEventListener("click", () => end(shown));
  callBack.addEventListener("click", () => callAgain(shown));
  calls.set(call.call_id, shown);
  showActions(shown);
  document.getElementById("no-calls").hidden = true;
  document.getElementById("calls").prepend(item);
  follow(shown);
}

function follow(call) {
  const stream = new EventSource(`api/calls/${encodeURIComponent(call.call_id)}/events`);
  for (const stage of Object.keys(STAGES)) {
    stream.addEventListener(stage, (event) => {
      if (LAST_STAGES.has(stage)) stream.close();
      step(call, stage, JSON.parse(event.data));
    });
  }
  stream.addEventListener("gone", (event) => {
    stream.close();
    call.stages.add("ended");
    call.item.querySelector(".fault").textContent = JSON.parse(event.data).text;
    showActions(call);
  });
  stream.addEventListener("error", () => {
    // The browser reconnects by itself, except where it was answered with an error.
    if (stream.readyState !== EventSource.CLOSED || isOver(call)) return;
    setTimeout(() => follow(call), STREAM_AGAIN_MS);
  });
}

const isOver = (call) => [...LAST_STAGES].some((stage) => call.stages.has(stage));

function step(call, stage, data) {
  // After a reconnection the first steps come once more.
  if (call.stages.has(stage)) return;
  call.stages.add(stage);
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
  callBack.hidden = !(call.kind === "call_me" && answered);
  callBack.setAttribute("aria-label", `Call me back: ${call.number}`);
}

async function end(call) {
  await act(call, ".cancel", ask("DELETE", `api/calls/${encodeURIComponent(call.call_id)}`));
}

async function callAgain(call) {
  // Kept until the answer is known, as above.
  call.nextId ??= crypto.randomUUID();
  const path = `api/calls/${encodeURIComponent(call.call_id)}/call-back`;
  const answer = await act(call, ".call-back", ask("POST", path, { call_id: call.nextId }));
  if (answer.status < 500) call.nextId = undefined;
  if (answer.ok) show(answer.body);
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
