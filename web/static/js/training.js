// The training page: numbers and points come with the stream, everything else is asked for anew
// from the server once its tables have what the stream told.
import { LossChart } from "./chart.js";
import { Series } from "./series.js";
import { localize, span } from "./times.js";

const QUIET_MS = 60; // events come in bursts: one request for all
const AGAIN_MS = 2000;
const count = new Intl.NumberFormat("en");
const live = document.getElementById("live");
const byId = (id) => document.getElementById(id);

let chart = null;
let series = new Series();
let latest = null; // the last progress of the job on the page
let seen = null; // the position of the last event that changes more than numbers
let asking = false;
let timer = 0;

function connection(state, text) {
  const line = byId("connection");
  if (line.dataset.state === state) return;
  line.dataset.state = state;
  line.querySelector(".text").textContent = text;
}

// Points.

function adopt() {
  const section = byId("loss");
  const rows = JSON.parse(section.dataset.points);
  const fresh = new Series(rows);
  if (section.dataset.job === series.job) {
    for (const row of series.rows) if (row[0] > (fresh.rows.at(-1)?.[0] ?? -1)) fresh.add(...row);
  }
  series = fresh;
  series.job = section.dataset.job;
  draw();
}

function draw() {
  if (byId("loss").hidden) return;
  const plot = byId("plot");
  chart ??= new LossChart(plot);
  chart.show(series.columns());
  plot.dataset.points = series.rows.length;
  plot.dataset.last = series.rows.at(-1)?.[0] ?? "";
}

// Numbers.

function progressed(told) {
  const current = byId("current");
  if (told.jobId !== current.dataset.job || told.fencingToken < series.token) return;
  latest = told;
  for (const point of told.points) series.add(point.step, point.loss, told.fencingToken);
  draw();
  number();
}

function number() {
  const current = byId("current");
  const running = latest?.jobId === current.dataset.job && current.dataset.running === "yes";
  if (!running || latest.fencingToken < Number(current.dataset.token)) return;
  const bar = byId("bar");
  if (latest.fencingToken === Number(current.dataset.token) && latest.step < bar.value) return;
  bar.max = latest.totalSteps;
  bar.value = latest.step;
  const texts = {
    step: count.format(latest.step),
    totalSteps: count.format(latest.totalSteps),
    share: Math.floor((100 * latest.step) / latest.totalSteps),
    loss: latest.loss?.toFixed(3),
    tokensPerSecond: latest.tokensPerSecond && count.format(Math.round(latest.tokensPerSecond)),
    secondsLeft: latest.secondsLeft != null ? span(latest.secondsLeft) : undefined,
  };
  for (const element of current.querySelectorAll("[data-live]")) {
    const text = texts[element.dataset.live];
    if (text !== undefined) element.textContent = text;
  }
}

// The rest of the page.

function stale(id) {
  seen = id || seen;
  clearTimeout(timer);
  timer = setTimeout(refresh, QUIET_MS);
}

async function refresh() {
  if (asking) return; // asked again below
  asking = true;
  const asked = seen;
  const address = new URL(live.dataset.parts, location.href);
  const job = new URLSearchParams(location.search).get("job");
  if (job) address.searchParams.set("job", job);
  if (asked) address.searchParams.set("seen", asked);
  let taken = false;
  const told = (event) => { taken = event.detail.ctx.response?.status === 200; };
  document.body.addEventListener("htmx:after:request", told, { once: true });
  await htmx.ajax("GET", address.pathname + address.search, { source: document.body, swap: "none" });
  document.body.removeEventListener("htmx:after:request", told);
  asking = false;
  if (!taken) setTimeout(refresh, AGAIN_MS);
  else if (seen !== asked) stale(seen);
}

// The stream.

live.addEventListener("htmx:sse:after:connection", () => connection("live", "Live"));
live.addEventListener("htmx:sse:error", ({ detail }) => {
  // The session is over, or the position is not one that this server knows: begin anew.
  if ([400, 401, 410].includes(detail.status)) setTimeout(() => location.reload(), AGAIN_MS);
  connection("waiting", "Reconnecting");
});
live.addEventListener("htmx:sse:after:message", ({ detail: { message } }) => {
  if (message.event === "job.progress") progressed(JSON.parse(message.data));
  else if (message.event !== "opened") stale(message.id);
});
function again() {
  connection("waiting", "Reconnecting");
  setTimeout(() => live.dispatchEvent(new CustomEvent("live:again")), AGAIN_MS);
}
live.addEventListener("htmx:response:error", again);
live.addEventListener("htmx:error", again);
live.addEventListener("htmx:sse:close", ({ detail }) => { if (detail.reason === "ended") again(); });

document.addEventListener("htmx:after:swap", () => {
  localize();
  adopt();
  number();
});

// The form tells how to ask for the same from a shell.
document.addEventListener("input", ({ target }) => {
  const form = target.form;
  const text = byId("curl-text");
  if (!form || form.getAttribute("action") !== "/training/start" || !text) return;
  const wish = { userId: text.dataset.person, priority: form.elements.priority.value };
  const config = form.elements.config.value.trim();
  try {
    if (config) wish.config = JSON.parse(config);
  } catch {
    return; // not yet JSON
  }
  const body = JSON.stringify(wish).replaceAll("'", "'\\''");
  text.textContent = text.textContent.replace(/-d '[^]*$/, `-d '${body}'`);
});

localize();
adopt();
