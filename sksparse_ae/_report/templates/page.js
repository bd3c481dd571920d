"use strict";

(() => {
  const { units, images } = JSON.parse(document.getElementById("data").textContent);
  const table = document.getElementById("units");
  const bodies = [...table.tBodies];
  const search = document.getElementById("search");
  const state = document.getElementById("state");
  units.forEach((unit, number) => { unit.unit = number; });
  const unitOf = (body) => units[Number(body.dataset.unit)];

  // Thousands, and three digits of all else, as the page writes them.
  const count = (n) => n.toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
  function number(x) {
    if (x === null) return "missing";
    const size = Math.abs(x);
    if (size === 0) return "0";
    if (size < 1e-3 || size >= 1e6) return x.toExponential(2);
    return size >= 100 ? x.toFixed(0) : x.toPrecision(3);
  }

  // Names come from data: they enter the page as text, never as markup.
  function add(parent, tag, text, attributes = {}) {
    const element = parent.appendChild(document.createElement(tag));
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) {
      element.setAttribute(name, value);
    }
    return element;
  }

  function sort(button) {
    const header = button.closest("th");
    const ascending = header.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.querySelectorAll("[aria-sort]")) {
      other.removeAttribute("aria-sort");
    }
    header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const key = button.dataset.key;
    const compare = (a, b) => {
      const [x, y] = [unitOf(a), unitOf(b)];
      if (x[key] === y[key]) return x.unit - y.unit;
      return x[key] < y[key] === ascending ? -1 : 1;
    };
    table.append(...bodies.sort(compare));
  }

  function matches(unit) {
    if (state.value && unit.state !== state.value) return false;
    const text = search.value.trim().toLowerCase();
    if (!text || text === String(unit.unit)) return true;
    return (unit.features || []).some(([name]) => name.toLowerCase().includes(text));
  }

  function filter() {
    let shown = 0;
    for (const body of bodies) {
      body.hidden = !matches(unitOf(body));
      shown += !body.hidden;
    }
    document.getElementById("shown").value =
      `${count(shown)} of ${count(units.length)} units`;
    document.getElementById("none").hidden = shown > 0;
  }

  function details(unit, body) {
    const row = document.getElementById("details").content.cloneNode(true)
      .firstElementChild;
    row.id = `details-${unit.unit}`;
    row.querySelector("h3").textContent = `Unit ${unit.unit}`;
    for (const kind of ["decoder", "learned"]) {
      const image = row.querySelector(`.${kind} img`);
      if (!image) continue;
      const name = kind === "decoder" ? "Decoder weights" : "Learned input";
      image.src = `data:image/png;base64,${unit[kind]}`;
      image.alt = `${name} of unit ${unit.unit}`;
    }
    for (const place of row.querySelectorAll("[data-measure]")) {
      const value = unit[place.dataset.measure];
      place.textContent = typeof value === "number" ? number(value) : value;
    }
    const axis = row.querySelector(".axis");
    axis.before(body.querySelector("svg").cloneNode(true));
    axis.querySelector(".upper").textContent = Number(number(unit.upper));
    const counts = row.querySelector(".counts tbody");
    unit.counts.forEach((samples, bin) => {
      const line = add(counts, "tr", "");
      const from = (unit.upper * bin) / unit.counts.length;
      add(line, "th", number(from), { scope: "row" });
      add(line, "td", count(samples));
    });
    const features = row.querySelector(".features");
    if (features) {
      for (const [name, weight] of unit.features) {
        const line = add(features, "div", "");
        add(line, "dt", name);
        add(line, "dd", number(weight));
      }
    }
    const samples = row.querySelector(".samples");
    if (samples) addImages(samples, unit);
    else addValues(row.querySelector(".values"), unit);
    return row;
  }

  function addImages(list, unit) {
    const coarse = table.querySelector("img.coarse") !== null;
    unit.samples.forEach((sample, place) => {
      const figure = add(add(list, "li", ""), "figure", "");
      add(figure, "img", "", {
        src: `data:image/png;base64,${images[sample]}`,
        alt: `Sample ${sample}`,
        class: coarse ? "coarse" : "",
      });
      const caption = add(figure, "figcaption", number(unit.activations[place]));
      add(caption, "span", `sample ${sample}`);
    });
  }

  function addValues(values, unit) {
    for (const [name, decoder, learned] of unit.features) {
      add(values.tHead.rows[0], "th", name, { scope: "col" });
      add(values.querySelector(".decoder"), "td", number(decoder));
      add(values.querySelector(".learned"), "td", number(learned));
    }
    unit.samples.forEach((sample, place) => {
      const line = add(values.tBodies[0], "tr", "");
      add(line, "th", sample, { scope: "row" });
      for (const value of [unit.activations[place], ...unit.values[place]]) {
        add(line, "td", number(value));
      }
    });
  }

  // Narrow windows have fewer columns, and a cell that spans more would add some.
  function span() {
    const shown = [...table.tHead.rows[0].cells].filter((cell) => cell.offsetWidth > 0);
    for (const cell of table.querySelectorAll(".details > td")) {
      cell.colSpan = shown.length;
    }
  }

  function toggle(body) {
    const button = body.querySelector("button");
    const open = body.rows.length === 1;
    button.setAttribute("aria-expanded", open);
    if (open) {
      const row = body.appendChild(details(unitOf(body), body));
      button.setAttribute("aria-controls", row.id);
      span();
    } else {
      button.removeAttribute("aria-controls");
      body.rows[1].remove();
    }
  }

  table.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-key]");
    if (button) return sort(button);
    const row = event.target.closest("tbody[data-unit] > tr:first-child");
    // A mouse may click anywhere in a row, unless it is selecting text there.
    if (row && getSelection().isCollapsed) toggle(row.parentElement);
  });
  addEventListener("resize", span);
  const filters = document.getElementById("filters");
  filters.addEventListener("input", filter);
  filters.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("clear").addEventListener("click", () => {
    filters.reset();
    filter();
    search.focus();
  });
  filters.hidden = false;
  filter(); // A browser may have kept what was typed before a reload.
})();
