// Keeps a page up to date: a socket says that there is news, the part URL of #live gives the fragments that changed.
// Other modules may listen to "live:part" on #live, or set `live.read` to read news in a way of their own.

const RUN_GAP_MS = 250, ORGANIZATION_GAP_MS = 2000; // between two refreshes: of one run at most 4 a second
const POLL_MS = 5000, TRIES_BEFORE_POLLING = 3;
const FIRST_RETRY_MS = 400, LONGEST_RETRY_MS = 30_000;
const OPENING_MS = 10_000, SILENCE_MS = 40_000; // the server says something every 15 s
const HIDDEN_MS = 30_000;
const ANSWER_MS = 20_000;

const place = document.getElementById("live");
const GAP_MS = place?.dataset.topic === "organization" ? ORGANIZATION_GAP_MS : RUN_GAP_MS;
export const live = { seen: Number(place?.dataset.seq || 0), news: () => want(), read: readPart };
let socket, opened = 0, tries = 0, heardAt = 0, heard = live.seen;
let wanted = false, busy = false, lastRefresh = 0, timer = 0, retry = 0, hiddenAt = 0, over = false;

// --- the word in the header
function say(state, words) {
  if (place.dataset.state === state) return;
  place.dataset.state = state;
  place.textContent = words;
}
const sayLost = () => say("reconnecting", "Reconnecting");

function end(words, way) {
  over = true;
  drop();
  say("ended", `${words} `);
  const link = document.createElement("a");
  link.href = location.href;
  link.textContent = way;
  place.append(link);
}
const signedOut = () => end("Signed out.", "Sign in again");
const turnedAway = () => end("Your access has ended.", "Look again");

// --- news: fetched one at a time, applied in place
function want() {
  wanted = true;
  if (busy || timer || over || !place.dataset.part || document.hidden) return;
  timer = setTimeout(refresh, Math.max(0, lastRefresh + GAP_MS - Date.now()));
}

async function refresh() {
  timer = 0;
  busy = true;
  wanted = false;
  lastRefresh = Date.now();
  const upTo = heard;
  try {
    live.seen = (await live.read(live.seen)) ?? upTo;
    if (live.seen < heard || (heard !== upTo && heard !== live.seen)) wanted = true;
  } catch {
    wanted = true;
    lastRefresh = Date.now() + 2000;
    if (!isOpen()) sayLost();
  }
  busy = false;
  if (wanted) want();
}

// The answer to a GET of a page's own; null when the reader is not signed in any more, or the page is not theirs.
export async function get(address) {
  const headers = { "HX-Request": "true", "X-Member": document.body.dataset.member };
  const answer = await fetch(address, { headers, redirect: "manual", cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
  if (answer.type === "opaqueredirect" || answer.status === 401) return signedOut(), null;
  if (answer.status === 403) return turnedAway(), null;
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer;
}

// A part's fragments into their places. Its <title>, if it has one, is the tab's from now on: htmx reads it, and sets
// none where nothing else is swapped.
export async function put(text) {
  const context = { text, sourceElement: document.body, target: document.body, swap: "none" };
  await htmx.swap(context);
  if (context.title) document.title = context.title.trim();
}

async function readPart(after) {
  const address = new URL(place.dataset.part, location.href);
  address.searchParams.set("after", after);
  const answer = await get(address);
  if (!answer) return null;
  await put(await answer.text());
  place.dispatchEvent(new CustomEvent("live:part"));
  const seq = answer.headers.get("X-Seq");
  return seq === null ? null : Number(seq);
}

// What the reader opened stays open, whatever the server drew.
htmx.registerExtension("reader", { htmx_before_morph_attr: (element, { attrName }) => attrName !== "open" || !element.matches("details, dialog") });

// --- the socket
const isOpen = () => socket?.readyState === WebSocket.OPEN && heardAt >= opened;

function connect() {
  clearTimeout(retry);
  if (over || socket || (document.hidden && hiddenAt && Date.now() - hiddenAt > HIDDEN_MS)) return;
  const address = new URL("/ws/live", location.href.replace(/^http/, "ws"));
  address.search = new URLSearchParams({ topic: place.dataset.topic, member: document.body.dataset.member, after: live.seen });
  const mine = (socket = new WebSocket(address));
  opened = Date.now();
  mine.onmessage = (event) => {
    if (mine !== socket) return;
    heardAt = Date.now();
    tries = 0;
    say("live", "Live");
    heard = JSON.parse(event.data).seq;
    if (heard !== live.seen) want();
  };
  mine.onclose = (event) => {
    if (mine !== socket) return;
    if (event.code === 4401) return signedOut();
    if (event.code === 4403) return turnedAway();
    lost();
  };
}

function drop() {
  clearTimeout(retry);
  const old = socket;
  socket = undefined;
  old?.close();
}

function lost() {
  drop();
  tries += 1;
  sayLost();
  const pause = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (tries - 1));
  retry = setTimeout(connect, pause * (0.5 + Math.random()));
}

function again() { // the page is looked at again, or the network is back: what was heard before may be old
  if (document.hidden || over) return;
  if (socket && Date.now() - Math.max(heardAt, opened) > SILENCE_MS / 2) drop();
  if (!socket) connect();
  if (wanted) want();
}

function look() {
  if (over) return;
  const now = Date.now();
  if (document.hidden && hiddenAt && now - hiddenAt > HIDDEN_MS) {
    drop();
    return say("paused", "Paused");
  }
  if (socket && !isOpen() && now - opened > OPENING_MS) lost();
  else if (isOpen() && now - heardAt > SILENCE_MS) lost();
  if (!isOpen() && tries >= TRIES_BEFORE_POLLING && now - lastRefresh >= POLL_MS) want();
}

if (place?.dataset.topic) {
  place.textContent = "";
  connect();
  setInterval(look, 1000);
  document.addEventListener("visibilitychange", () => {
    hiddenAt = document.hidden ? Date.now() : 0;
    again();
  });
  addEventListener("offline", () => socket && lost()); // a network that is gone closes no socket: only silence would tell
  addEventListener("online", () => { tries = 0; again(); });
  addEventListener("pageshow", (event) => event.persisted && again());
  addEventListener("pagehide", drop);
}
