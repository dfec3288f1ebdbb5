// Comfort for browsers with scripts; every page works without this file.
"use strict";

// Keys: / goes to the search of the page, or to the one above it.
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const search = document.querySelector("[data-search]") || document.getElementById("find");
  if (!search) return;
  event.preventDefault();
  search.focus();
  search.select();
});

// Confirmations open above the page instead of after it.
const dialog = document.getElementById("dialog");

async function openDialog(link) {
  const answer = await fetch(link.href, { headers: { "HX-Request": "true" } });
  const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
  const form = parsed.querySelector("form.confirm");
  if (!answer.ok || !form) {
    window.location = link.href;
    return;
  }
  dialog.replaceChildren(document.adoptNode(form));
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  const link = event.target.closest("a[data-dialog]");
  if (link && dialog) {
    event.preventDefault();
    openDialog(link).catch(() => { window.location = link.href; });
  } else if (event.target.closest("#dialog a[data-close]")) {
    event.preventDefault();
    dialog.close();
  } else if (event.target.closest("rect[data-device]")) {
    window.location = "/devices/" + encodeURIComponent(event.target.closest("rect").dataset.device);
  }
});

// On a narrow screen the main links stand in a row that scrolls.
const row = document.querySelector(".side nav");
const here = row?.querySelector("[aria-current]");
if (here) row.scrollLeft = here.offsetLeft - row.offsetLeft - 24;

// How long ago goes on counting between two pictures from the manager.
const STEPS = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"]];

function span(seconds) {
  for (const [below, unit, name] of STEPS) {
    if (seconds < below) return Math.floor(seconds / unit) + " " + name;
  }
  return Math.floor(seconds / 86400) + " d";
}

function countOn() {
  for (const time of document.querySelectorAll("time[data-since]")) {
    const text = span(Math.max(0, (Date.now() - Date.parse(time.dateTime)) / 1000));
    if (time.textContent !== text) time.textContent = text;
  }
  for (const clock of document.querySelectorAll("time[data-clock]")) {
    clock.textContent = new Date().toLocaleTimeString();
  }
}

setInterval(countOn, 1000);

// A session that ended: the stream is refused, so the page asks for a log-in.
document.addEventListener("htmx:sse:error", (event) => {
  if (event.detail.status === 401) window.location.reload();
});
