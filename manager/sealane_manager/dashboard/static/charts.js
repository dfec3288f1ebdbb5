// Draws each chart from the table that stands beside it; without this file the tables are open.
"use strict";

const AGAIN_MS = 30000;
const DASHES = { solid: [], dashed: [7, 4], dotted: [2, 3] };
const plots = new Map();

function ink(name) {
  const probe = document.createElement("i");
  probe.className = name;
  document.body.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}

function numbers(body, column) {
  const known = new Map();
  for (const row of body.rows) {
    const text = row.cells[column].textContent;
    known.set(Date.parse(row.cells[0].firstElementChild.dateTime) / 1000, text ? Number(text) : null);
  }
  return known;
}

// The data as uPlot wants them: every moment of the range, and what each line had there.
function dataOf(table) {
  const body = table.tBodies[0];
  const { first, last, bucket } = body.dataset;
  const moments = [];
  for (let at = Number(first); at <= Number(last); at += Number(bucket)) moments.push(at);
  const columns = [...table.tHead.rows[0].cells].slice(1);
  const lines = columns.map((_, index) => {
    const known = numbers(body, index + 1);
    return moments.map((at) => known.get(at) ?? null);
  });
  return { columns, data: [moments, ...lines] };
}

function wordOf(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1e6) return (value / 1e6).toPrecision(3) + " M";
  if (value >= 1e3) return Number((value / 1e3).toPrecision(3)) + " k";
  return String(Number(value.toPrecision(3)));
}

const HOUR = 3600;
function clock(_, ticks, __, ___, step) {
  const days = step >= 20 * HOUR;
  return ticks.map((at) => {
    const moment = new Date(at * 1000);
    const day = moment.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
    const midnight = moment.getHours() === 0 && moment.getMinutes() === 0;
    if (days || midnight) return day;
    return moment.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  });
}

function optionsOf(figure, columns, reading) {
  const text = ink("ink-muted");
  const grid = { stroke: ink("ink-grid"), width: 1 };
  const axis = { stroke: text, grid, ticks: { show: false }, font: "11px Inter, system-ui, sans-serif" };
  const series = columns.map((head) => ({
    label: head.textContent,
    stroke: ink("line" + head.dataset.shade),
    width: head.dataset.dash === "dotted" ? 2 : 1.6,
    dash: DASHES[head.dataset.dash],
    points: { size: 5 },
  }));
  return {
    width: figure.clientWidth,
    height: 190,
    legend: { show: false },
    cursor: { sync: { key: "time" }, drag: { x: false, y: false }, points: { size: 6 }, y: false },
    scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high || 1) * 1.08] } },
    axes: [
      { ...axis, values: clock, size: 26, space: 70 },
      { ...axis, size: 46, values: (_, ticks) => ticks.map(wordOf), space: 34 },
    ],
    series: [{}, ...series],
    hooks: { setCursor: [(plot) => tell(plot, reading)] },
  };
}

// What the lines had at the moment under the pointer.
function tell(plot, reading) {
  const at = plot.cursor.idx;
  if (at === null || at === undefined) {
    reading.textContent = "";
    return;
  }
  const moment = new Date(plot.data[0][at] * 1000);
  const parts = plot.series.slice(1).map((line, index) => {
    return line.label + " " + wordOf(plot.data[index + 1][at]);
  });
  reading.textContent = moment.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })
    + " · " + parts.join(" · ");
}

function readingOf(figure) {
  const reading = figure.querySelector(".reading") || document.createElement("p");
  reading.className = "reading muted";
  figure.querySelector(".plot").after(reading);
  return reading;
}

function draw(figure) {
  const table = figure.querySelector("table");
  const place = figure.querySelector(".plot");
  if (!table || !place) return;
  const { columns, data } = dataOf(table);
  place.hidden = false;
  place.replaceChildren();
  plots.get(figure)?.destroy();
  plots.set(figure, new uPlot(optionsOf(figure, columns, readingOf(figure)), data, place));
}

function drawAll(root, open) {
  for (const figure of root.querySelectorAll("figure[data-chart]")) {
    figure.querySelector("details").open = open.has(figure.dataset.chart);
    draw(figure);
  }
}

function forget() {
  for (const [figure, plot] of plots) {
    if (figure.isConnected) continue;
    plot.destroy();
    plots.delete(figure);
  }
}

async function again(card) {
  const busy = card.contains(document.activeElement) || card.matches(":hover");
  if (document.hidden || busy) return;
  const answer = await fetch(card.dataset.charts, { headers: { "HX-Request": "true" } });
  if (!answer.ok) return;
  const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = parsed.querySelector("[data-charts]");
  if (!fresh) return;
  const open = [...card.querySelectorAll("figure[data-chart]")].filter((figure) => {
    return figure.querySelector("details").open;
  });
  // What the address of this page asks for stays in the links to other ranges.
  fresh.querySelector(".ranges")?.replaceWith(card.querySelector(".ranges"));
  card.replaceWith(document.adoptNode(fresh));
  forget();
  drawAll(fresh, new Set(open.map((figure) => figure.dataset.chart)));
}

drawAll(document, new Set());
setInterval(() => {
  for (const card of document.querySelectorAll("[data-charts]")) again(card).catch(() => {});
}, AGAIN_MS);

const redraw = () => { for (const figure of [...plots.keys()]) draw(figure); };
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (width !== window.innerWidth) requestAnimationFrame(redraw);
  width = window.innerWidth;
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
document.fonts?.ready.then(redraw);
