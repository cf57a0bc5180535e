// Sorting, filters, charts and the comparison of two runs. No network: everything a page needs lies beside it.
"use strict";

const site = {
  loaded: {},
  run(name, settings) {
    site.loaded[name] = settings;
  },
};
window.site = site;

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const COLOURS = /*COLOURS*/ {};

// ---- tables ----

function sortable(table) {
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((one, other) => {
        const order = compare(one.cells[column], other.cells[column], head.dataset.number !== undefined);
        return descending ? -order : order;
      });
      body.append(...rows);
    });
  });
}

function compare(one, other, numeric) {
  const [a, b] = [one.textContent.trim(), other.textContent.trim()];
  if (!numeric) return a.localeCompare(b, "en", { numeric: true });
  const value = (text) => {
    const number = parseFloat(text.replace(/[^0-9.eE+-]/g, ""));
    return Number.isNaN(number) ? -Infinity : number;
  };
  return value(a) - value(b);
}

function filtered(form) {
  const scope = form.parentElement;
  const rows = [...scope.querySelectorAll("table.filtered tbody tr, .searched")];
  const output = form.querySelector("output");
  const apply = () => {
    const words = (form.querySelector("[data-search]")?.value || "").toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = [...form.querySelectorAll("[data-column]")].filter((select) => select.value);
    let shown = 0;
    for (const row of rows) {
      const text = words.length ? row.textContent.toLowerCase() : "";
      const fits =
        words.every((word) => text.includes(word)) &&
        wanted.every((select) => row.dataset[select.dataset.column] === select.value);
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    output.textContent = `${shown} of ${rows.length} shown`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
}

// ---- charts ----

function theme() {
  const style = getComputedStyle(document.documentElement);
  const text = style.getPropertyValue("--text").trim();
  const line = style.getPropertyValue("--line").trim();
  return {
    background: "transparent",
    font: "system-ui, sans-serif",
    axis: { labelColor: text, titleColor: text, gridColor: line, domainColor: text, tickColor: text, labelFontSize: 12, titleFontSize: 12 },
    legend: { labelColor: text, titleColor: text, labelFontSize: 12, labelLimit: 200 },
    title: { color: text, subtitleColor: text, fontSize: 13, subtitleFontSize: 12 },
    rule: { color: text },
    view: { stroke: line },
  };
}

function draw(figure) {
  let text = figure.querySelector("script.spec").textContent;
  if (dark.matches) for (const [light, other] of Object.entries(COLOURS)) text = text.replaceAll(light, other);
  const spec = JSON.parse(text);
  spec.datasets = { ...spec.datasets, rows: rowsOf(figure) };
  window.vegaEmbed(figure.querySelector(".vega"), spec, { renderer: "svg", actions: false, config: theme(), tooltip: { theme: dark.matches ? "dark" : "light" } });
}

// A chart draws what its table holds: there is no second copy of the numbers.
function rowsOf(figure) {
  const names = [...figure.querySelectorAll("thead th")].map((head) => head.textContent);
  const value = (text) => (text === "True" || text === "False" ? text === "True" : text === "" || Number.isNaN(Number(text)) ? text || null : Number(text));
  return [...figure.querySelectorAll("tbody tr")].map((row) =>
    Object.fromEntries([...row.cells].map((cell, column) => [names[column], value(cell.textContent)])),
  );
}

function csv(figure) {
  const link = figure.querySelector("a.csv");
  link.addEventListener("click", () => {
    const rows = [...figure.querySelectorAll("details tr")].map((row) =>
      [...row.cells].map((cell) => (/[",\n]/.test(cell.textContent) ? `"${cell.textContent.replaceAll('"', '""')}"` : cell.textContent)).join(","),
    );
    link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(rows.join("\n") + "\n")}`;
  });
}

function charts() {
  const figures = [...document.querySelectorAll("figure.chart")];
  figures.forEach(csv);
  if (!window.vegaEmbed) return;
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((one) => one.isIntersecting)) {
        seen.unobserve(entry.target);
        draw(entry.target);
      }
    },
    { rootMargin: "400px" },
  );
  figures.forEach((figure) => seen.observe(figure));
  dark.addEventListener("change", () => figures.forEach(draw));
  window.addEventListener("beforeprint", () => figures.forEach(draw));
}

// ---- two runs side by side ----

function load(name) {
  if (site.loaded[name]) return Promise.resolve(site.loaded[name]);
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `data/${encodeURIComponent(name)}.js`;
    script.onload = () => resolve(site.loaded[name]);
    script.onerror = () => reject(new Error(`no run ${name}`));
    document.head.append(script);
  });
}

function comparison(form) {
  const known = [...document.querySelectorAll("#names option")].map((option) => option.value);
  const place = document.getElementById("differences");
  const output = form.querySelector("output");
  const named = (text) => known.find((name) => name === text) || known.find((name) => text && name.includes(text));
  const show = async () => {
    const [a, b] = ["a", "b"].map((id) => named(form.querySelector(`#${id}`).value.trim()));
    if (!a || !b) {
      output.textContent = a || b ? "Name a second run." : "Name two runs.";
      return;
    }
    form.querySelector("#a").value = a;
    form.querySelector("#b").value = b;
    history.replaceState(null, "", `#a=${a}&b=${b}`);
    const [one, other] = await Promise.all([load(a), load(b)]);
    const keys = [...new Set([...Object.keys(one), ...Object.keys(other)])];
    const text = (settings, key) => (key in settings ? JSON.stringify(settings[key]) : "absent");
    const differs = (key) => text(one, key) !== text(other, key);
    const rows = [...keys.filter(differs), ...keys.filter((key) => !differs(key))];
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const title of ["setting", a, b]) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = title;
      head.append(cell);
    }
    const body = table.createTBody();
    for (const key of rows) {
      const row = body.insertRow();
      row.className = differs(key) ? "differs" : "";
      const first = document.createElement("th");
      first.scope = "row";
      first.textContent = (differs(key) ? "≠ " : "") + key;
      row.append(first);
      row.insertCell().textContent = text(one, key);
      row.insertCell().textContent = text(other, key);
    }
    place.replaceChildren(table);
    output.textContent = `${keys.filter(differs).length} of ${keys.length} differ`;
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
  const hash = new URLSearchParams(location.hash.slice(1));
  for (const id of ["a", "b"]) if (hash.get(id)) form.querySelector(`#${id}`).value = hash.get(id);
  if (hash.get("a") && hash.get("b")) show();
}

document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("form.filters:not(#compare)").forEach(filtered);
const form = document.getElementById("compare");
if (form) comparison(form);
window.addEventListener("load", charts);
