// The page's own clock: how old the forecast is, whether it still holds, and which picture is shown.
"use strict";

const GRACE_MINUTES = 30; // A cycle takes its time; later than this the next forecast is missing.
const body = document.body.dataset;
const time = (text) => (text ? Date.parse(text) : NaN);
const utc = (moment) => new Date(moment).toISOString().slice(0, 16).replace("T", " ") + " UTC";

function span(milliseconds) {
  const minutes = Math.floor(Math.abs(milliseconds) / 60000);
  const days = Math.floor(minutes / 1440), hours = Math.floor(minutes / 60) % 24;
  if (days > 1) return `${days} days ${hours} h`;
  return minutes >= 60 ? `${24 * days + hours} h ${minutes % 60} min` : `${minutes} min`;
}

function alarmText(now) {
  const issue = time(body.issue), next = time(body.next), end = time(body.end);
  if (now < issue - 10 * 60000) {
    return `This device's clock says ${utc(now)}, before the forecast was issued: its clock is wrong, or the forecast's is. The age of the forecast cannot be told.`;
  }
  if (!(now > next + GRACE_MINUTES * 60000)) return "";
  const over = now > end ? ` Its window ended at ${utc(end)}: it says nothing about the Sun of now.` : "";
  return `Out of date: this page is of ${utc(issue)}, and a newer forecast was due at ${utc(next)}, ${span(now - next)} ago.${over} Do not rely on it.`;
}

function put(id, text) {
  const element = document.getElementById(id);
  // Only when it changes: a screen reader reads an alert again each time.
  if (element && element.textContent !== text) element.textContent = text;
  return element;
}

function tick() {
  const now = Date.now();
  put("clock", utc(now));
  if (!body.issue) return;
  const text = alarmText(now), alarm = document.getElementById("stale");
  if (alarm) alarm.hidden = !text;
  document.documentElement.classList.toggle("stale", Boolean(text));
  put("stale", text);
  const left = time(body.next) - now;
  if (body.next) put("countdown", left > 0 ? `(in ${span(left)})` : "(due)");
  if (body.observed) put("age", `(now ${span(now - time(body.observed))} old)`);
  if (!body.last) return;
  const over = now > time(body.lastEnd);
  put("last-age", over ? `(now ${span(now - time(body.last))} old: its window is over)` : `(now ${span(now - time(body.last))} old)`);
  document.getElementById("last")?.classList.toggle("over", over);
}

// On a phone a table that does not fit stands as a card for each row, whose cells say what they are.
function stackTables() {
  for (const table of document.querySelectorAll(".scroll > table")) {
    const heads = [...table.querySelectorAll("thead th")].map((one) => one.textContent.replace(" %", "\u00a0%"));
    for (const row of table.querySelectorAll("tbody tr")) {
      let column = 0;
      for (const cell of row.cells) {
        if (cell.colSpan === 1) cell.dataset.head = heads[column];
        column += cell.colSpan;
      }
    }
    table.classList.remove("stacked");
    table.classList.toggle("stacked", table.scrollWidth > table.parentElement.clientWidth);
  }
}

// A page left open takes the next forecast by itself; opened as a file it cannot ask, and the wall's loads itself again.
async function lookForNewer() {
  if (!body.issue || !(Date.now() > time(body.next))) return;
  if (!location.protocol.startsWith("http")) {
    if ("wall" in body) location.reload();
    return;
  }
  try {
    const answer = await fetch("latest.json", { cache: "no-store" });
    if (answer.ok && time((await answer.json()).issue) > time(body.issue)) location.reload();
  } catch {
    // No network: the alarm tells the age all the same.
  }
}

function pictures() {
  const sun = document.getElementById("sun");
  if (!sun) return;
  const layer = (name) => sun.querySelector(`[data-layer="${CSS.escape(name)}"]`);
  const show = (name, shown) => {
    layer(name)?.toggleAttribute("hidden", !shown);
    document.querySelector(`[data-note="${CSS.escape(name)}"]`)?.toggleAttribute("hidden", !shown);
  };
  const update = () => document.querySelectorAll("#images input, #layers input").forEach((input) => show(input.value, input.checked));
  document.querySelectorAll("#images, #layers").forEach((set) => set.addEventListener("change", update));
  update(); // a browser may restore choices when going back
}

function regions() {
  const lit = (number, on) =>
    document.querySelectorAll(`[data-region="${CSS.escape(number)}"]`).forEach((element) => element.classList.toggle("lit", on));
  for (const element of document.querySelectorAll("[data-region]")) {
    const number = element.dataset.region;
    for (const [event, on] of [["mouseenter", true], ["mouseleave", false], ["focusin", true], ["focusout", false]]) {
      element.addEventListener(event, () => lit(number, on));
    }
  }
}

function theme() {
  const button = document.getElementById("theme"), root = document.documentElement;
  let chosen = null;
  try { chosen = localStorage.getItem("kflare-theme"); } catch { /* storage may be off */ }
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const name = () => { button.textContent = dark() ? "Light" : "Dark"; button.setAttribute("aria-label", `Use ${dark() ? "light" : "dark"} colours`); };
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("kflare-theme", root.dataset.theme); } catch { /* for this page only, then */ }
    name();
  });
  name();
  button.hidden = false;
}

theme();
pictures();
regions();
stackTables();
addEventListener("resize", stackTables);
document.addEventListener("toggle", stackTables, true); // what unfolds had no width before
for (const chart of document.querySelectorAll(".scroll:has(.strip)")) chart.scrollLeft = chart.scrollWidth; // the newest, on a phone
tick();
setInterval(tick, 15000);
setInterval(lookForNewer, 120000);
