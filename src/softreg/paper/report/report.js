// The page's script: one set of filters for tables and charts, sorting, and the dialog of a cell.
// All text from the study enters the page as text, never as markup.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("filters");
  const dialog = document.getElementById("cell");
  const EMBED = { mode: "vega-lite", renderer: "svg", actions: false, ast: true };
  // A modal dialog covers what lies outside it, so its charts have a tooltip of their own inside.
  const INSIDE = { ...EMBED, tooltip: { id: "cell-tooltip", styleId: "cell-tooltip-style" } };
  const PNG = "data:image/png;base64,";
  const cells = rowsOf(data.cells);
  const points = Object.fromEntries(Object.entries(data.charts).map(([name, chart]) => [name, rowsOf(chart.points)]));

  /** The rows of a table of columns, as objects; see softreg.paper.report.cells. */
  function rowsOf(table) {
    const columns = Object.entries(table).map(([name, column]) => [
      name,
      Array.isArray(column) ? column : column.codes.map((code) => column.values[code]),
    ]);
    const length = columns.length ? columns[0][1].length : 0;
    return Array.from({ length }, (_, at) => Object.fromEntries(columns.map(([name, values]) => [name, values[at]])));
  }

  /** An element with attributes and children; strings become text. */
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  const label = (name) => data.labels[name] ?? name;
  const number = (value, digits) => (value === null ? "–" : value.toFixed(digits));

  // Filters

  function wanted() {
    const fields = new FormData(form);
    return {
      dataset: fields.get("dataset"),
      model: fields.get("model"),
      penalties: new Set(fields.getAll("penalty")),
      words: fields.get("text").toLowerCase().split(/\s+/).filter(Boolean),
    };
  }

  /** Whether an element, or a point, of this data set, model and penalty is let through; what it lacks does not matter. */
  function lets(filter, { dataset, model, penalty }) {
    return (
      (!filter.dataset || dataset === undefined || dataset === filter.dataset) &&
      (!filter.model || model === undefined || model === filter.model) &&
      (penalty === undefined || filter.penalties.has(penalty))
    );
  }

  function applyFilters() {
    const filter = wanted();
    for (const each of document.querySelectorAll(".explore [data-dataset], .explore [data-penalty]")) {
      const text = each.closest("table.rows") ? each.textContent.toLowerCase() : "";
      const found = !text || filter.words.every((word) => text.includes(word));
      each.hidden = !(found && lets(filter, each.dataset));
    }
    tell();
    for (const [place, chart] of drawn) update(place, chart, filter);
  }

  /** How many rows each table shows, beside its heading, and of results and charts also aloud. */
  function tell() {
    const counted = (rows) => [[...rows].filter((row) => !row.hidden).length, rows.length];
    for (const place of document.querySelectorAll("[data-count]")) {
      const [shown, all] = counted(document.querySelectorAll(`#${place.dataset.count}-table tbody tr`));
      place.textContent = !all ? "" : shown ? `${shown} of ${all} rows` : "no row matches the filters";
    }
    const [rows, allRows] = counted(document.querySelectorAll("#scores-table tbody tr"));
    const [panels, allPanels] = counted(document.querySelectorAll(".panel"));
    document.getElementById("shown").textContent =
      `Showing ${rows} of ${allRows} rows of results and ${panels} of ${allPanels} pairs of data set and model.`;
  }

  // Sorting

  /** Sort by a column: ascending, then descending, then as it was. What has no number comes last. */
  function sortBy(heading) {
    const table = heading.closest("table");
    const body = table.tBodies[0];
    const column = [...heading.parentNode.children].indexOf(heading);
    const next = { ascending: "descending", descending: null }[heading.getAttribute("aria-sort") ?? ""];
    const order = next === undefined ? "ascending" : next;
    for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
    if (order) heading.setAttribute("aria-sort", order);
    const rows = [...body.rows];
    rows.forEach((row, at) => (row.dataset.place ??= at));
    rows.sort((one, other) => one.dataset.place - other.dataset.place);
    if (order) rows.sort(comparison(column, order === "ascending" ? 1 : -1));
    body.append(...rows);
  }

  function comparison(column, sign) {
    return (one, other) => {
      const [a, b] = [one.cells[column], other.cells[column]];
      if (a.dataset.key === undefined) return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
      const [x, y] = [a, b].map((cell) => (cell.dataset.key === "" ? NaN : Number(cell.dataset.key)));
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return sign * (x - y);
    };
  }

  // Tables that are made when they are first opened

  const numeric = (value, digits) => element("td", { class: "number", "data-key": value ?? "" }, number(value, digits));
  const plain = (text) => element("td", {}, text);

  function groupRow(of, ...children) {
    return element("tr", { "data-dataset": of.dataset, "data-model": of.model, "data-penalty": of.penalty }, ...children);
  }

  function cellRow(cell, at) {
    const open = element("button", { type: "button", class: "link", "data-cell": at }, String(at + 1));
    const fold = cell.fold < 0 ? null : cell.fold;
    return groupRow(
      cell,
      element("td", { class: "number", "data-key": at }, open),
      ...[cell.phase, label(cell.dataset), label(cell.model), label(cell.penalty)].map(plain),
      element("td", { class: "number", "data-key": cell.lambda }, cell.lambda || "–"),
      numeric(cell.seed, 0),
      numeric(fold, 0),
      plain(cell.status),
      numeric(cell.test_miou, 2),
      numeric(cell.seconds, 1),
    );
  }

  function pointRow(title, point) {
    const share = title === data.charts.pareto?.title ? point.x : null;
    return groupRow(
      point,
      ...[title, label(point.dataset), label(point.model), point.label].map(plain),
      element("td", { class: "number", "data-key": point.lambda }, point.lambda),
      numeric(point.miou, 2),
      numeric(point.se, 2),
      numeric(point.seeds, 0),
      numeric(share, 2),
      plain(point.mark),
    );
  }

  function fillOnce(id, rows) {
    const details = document.getElementById(id);
    details?.addEventListener("toggle", () => {
      details.querySelector("tbody").append(...rows());
      applyFilters();
    }, { once: true });
  }

  // Charts

  const drawn = new Map();

  /** The values of a chart's parameters: the penalties shown, and the ends of axes around their points. */
  function parametersFor(chart, filter) {
    const shown = chart.points.filter((point) => filter.penalties.has(point.penalty));
    const ends = (low, high) => {
      const room = 0.06 * (high - low) || 1;
      return [low - room, high + room];
    };
    const [bottom, top] = ends(Math.min(...shown.map((each) => each.low)), Math.max(...shown.map((each) => each.high)));
    const places = shown.map((each) => each.x);
    const [left, right] = ends(Math.min(...places), Math.max(...places));
    return shown.length ? { shown: [...filter.penalties], bottom, top, left, right } : null;
  }

  async function draw(place) {
    const { dataset, model } = place.closest(".panel").dataset;
    const { specification, title } = data.charts[place.dataset.chart];
    const mine = points[place.dataset.chart].filter((point) => point.dataset === dataset && point.model === model);
    const chart = { points: mine, view: null };
    drawn.set(place, chart);
    const values = parametersFor(chart, wanted()) ?? parametersFor(chart, { penalties: new Set(mine.map((each) => each.penalty)) });
    const params = specification.params.map((each) => ({ ...each, value: values[each.name] ?? each.value }));
    const description = `${title}: ${label(model)} on ${label(dataset)}`;
    const embedded = await vegaEmbed(place, { ...specification, params, description, datasets: { points: mine } }, EMBED);
    chart.view = embedded.view;
    chart.view.addEventListener("click", (_, item) => item?.datum?.penalty && openPoint(place.dataset.chart, item.datum));
    update(place, chart, wanted());
  }

  function update(place, chart, filter) {
    const values = parametersFor(chart, filter);
    place.hidden = !values;
    place.nextElementSibling.hidden = Boolean(values);
    if (!values || !chart.view) return;
    for (const [name, value] of Object.entries(values)) {
      if (chart.view.getState().signals[name] !== undefined) chart.view.signal(name, value);
    }
    chart.view.runAsync();
  }

  function openPoint(name, { dataset, model, penalty, lambda, mark }) {
    const phase = name === "pareto" && mark ? "final" : "sweep";
    const group = groupOf([phase, dataset, model, penalty]);
    show(group, Math.max(0, group.findIndex((at) => cells[at].lambda === lambda)));
  }

  /** Every chart, one after another, so that none is blank in a picture of the page. */
  async function drawAll() {
    for (const place of document.querySelectorAll(".panel .vega")) await draw(place);
  }

  // The dialog of a cell

  let views = [];

  function groupOf([phase, dataset, model, penalty]) {
    return cells.flatMap((cell, at) =>
      cell.phase === phase && cell.dataset === dataset && cell.model === model && cell.penalty === penalty ? [at] : [],
    );
  }

  function openCell(at) {
    const { phase, dataset, model, penalty } = cells[at];
    const group = groupOf([phase, dataset, model, penalty]);
    show(group, group.indexOf(at));
  }

  /** Show the cell at ``place`` of a list of cells; the others can be chosen in the dialog. */
  function show(group, place) {
    const cell = cells[group[place]];
    for (const view of views) view.finalize();
    views = [];
    const tooltip = element("div", { id: "cell-tooltip", class: "vg-tooltip" });
    dialog.replaceChildren(head(cell), picker(group, place), ...body(cell, group[place]), tooltip);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    drawHistory(group[place]);
  }

  function head(cell) {
    const close = element("button", { type: "button", "data-close": "" }, "Close");
    const title = `${label(cell.model)} on ${label(cell.dataset)}, ${label(cell.penalty)}`;
    return element("header", {}, element("h2", { id: "cell-title" }, title), close);
  }

  const nameOf = (cell) =>
    `λ ${cell.lambda || "not chosen"}, seed ${cell.seed}${cell.fold < 0 ? "" : `, fold ${cell.fold}`}: ${cell.status}`;

  function picker(group, place) {
    const options = group.map((at, i) => element("option", i === place ? { value: i, selected: "" } : { value: i }, nameOf(cells[at])));
    const select = element("select", { id: "cell-pick" }, ...options);
    select.addEventListener("change", () => {
      show(group, Number(select.value));
      document.getElementById("cell-pick").focus();
    });
    const caption = element("label", { for: "cell-pick" }, `Cell ${place + 1} of ${group.length}, ${cells[group[place]].phase}`);
    return element("div", { class: "pick" }, caption, select);
  }

  function body(cell, at) {
    const parts = [
      element("p", { class: "state" }, element("b", {}, cell.status), cell.reason ? `: ${cell.reason}` : ""),
      facts(cell),
      settings(cell),
    ];
    if (cell.log_tail) parts.push(element("h3", {}, "End of its log"), element("pre", { tabindex: "0" }, cell.log_tail));
    if (data.histories[at]) {
      const places = Object.keys(data.histories_drawn).map((name) => element("div", { class: "vega", "data-history": name }));
      parts.push(element("h3", {}, "History"), element("div", { class: "charts" }, ...places));
    }
    return [...parts, ...pictures(cell, at)];
  }

  function definitions(pairs, attributes = {}) {
    return element("dl", attributes, ...pairs.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
  }

  const share = (part, whole) => (part === null || !whole ? "–" : `${((100 * part) / whole).toFixed(2)} % (${part} of ${whole})`);

  function facts(cell) {
    const fold = cell.fold < 0 ? "" : `-fold${cell.fold}`;
    const folder = `${cell.phase}/${cell.dataset}/${cell.model}/${cell.penalty}/seed${cell.seed}${fold}/lambda-${cell.lambda}${cell.lr && `@${cell.lr}`}`;
    const memory = cell.peak_memory === null ? "–" : `${(cell.peak_memory / 2 ** 20).toFixed(0)} MiB`;
    const pairs = [
      ["Phase", cell.phase], ["λ", cell.lambda || "not chosen"],
      ...(cell.lr ? [["Learning rate", cell.lr]] : []), ["Seed", String(cell.seed)],
      ["Fold", cell.fold < 0 ? "–" : String(cell.fold)], ["Test mIoU", number(cell.test_miou, 2)],
      ["Exact zeros", share(cell.exact_zeros, cell.penalised)], ["Dead filters", share(cell.dead_filters, cell.filters)],
      ["Steps", cell.steps === null ? "–" : String(cell.steps)], ["Seconds", number(cell.seconds, 1)],
      ["Images a second", number(cell.images_per_second, 1)], ["Peak memory", memory], ["Trained", cell.time || "–"],
      ["Device", cell.device || "–"], ["Commit", cell.commit || "–"], ["Key", cell.key || "–"],
      ["Folder", cell.lambda ? folder : "–"],
    ];
    const list = definitions(pairs, { class: "facts" });
    for (const value of [...list.querySelectorAll("dd")].slice(-4)) value.classList.add("long");
    return list;
  }

  function settings(cell) {
    const { options } = data;
    const pairs = [
      ["Data set", options.datasets[cell.dataset]], ["Model", options.models[cell.model]],
      ["Penalty", options.penalties[cell.penalty]], ...options.trained[options.training[cell.model][cell.penalty]],
    ];
    return element("details", {}, element("summary", {}, "Configuration"), definitions(pairs));
  }

  async function drawHistory(at) {
    if (!data.histories[at]) return;
    const [epochs, ...series] = data.histories[at];
    for (const [i, place] of [...dialog.querySelectorAll("[data-history]")].entries()) {
      const values = epochs.map((epoch, row) => ({ epoch, value: series[i][row] })).filter((row) => row.value !== null);
      const specification = data.histories_drawn[place.dataset.history];
      if (values.length) views.push((await vegaEmbed(place, { ...specification, datasets: { points: values } }, INSIDE)).view);
      else place.remove();
    }
  }

  function pictures(cell, at) {
    const predictions = data.predictions[at];
    if (!predictions) return [];
    const picture = (source, text) =>
      element("figure", {}, element("img", { src: PNG + source, alt: text }), element("figcaption", {}, text));
    const shown = data.examples[cell.dataset].filter((each) => predictions[each.image]).flatMap((each) => [
      picture(each.picture, `${each.image} (percentile ${each.percentile})`),
      picture(each.truth, `truth of ${each.image}`),
      picture(predictions[each.image], `prediction for ${each.image}`),
    ]);
    const classes = [...data.classes[cell.dataset], ["ignored", "#c8c8c8"]].map(([name, colour]) => {
      const mark = element("span", {});
      mark.style.background = colour;
      return element("li", {}, mark, name);
    });
    return [
      element("h3", {}, "Example images"),
      element("div", { class: "pictures" }, ...shown),
      element("ul", { class: "classes" }, ...classes),
    ];
  }

  // Everything is wired here

  function onClick(event) {
    const target = event.target.closest(".sort, [data-open], [data-cell], #cells-table tbody tr");
    if (!target) return;
    if (target.matches(".sort")) sortBy(target.closest("th"));
    else if (target.dataset.open) openEntry(JSON.parse(target.dataset.open));
    else openCell(Number((target.dataset.cell ? target : target.querySelector("[data-cell]")).dataset.cell));
  }

  /** An entry of the matrix opens at its first cell that did not finish, if there is one. */
  function openEntry(entry) {
    const group = groupOf(entry);
    show(group, Math.max(0, group.findIndex((at) => cells[at].status !== "finished")));
  }

  /** On paper, what is folded is shown, and folded again afterwards; the list of all cells stays out. */
  function openForPrint() {
    const folded = [...document.querySelectorAll("details:not([open]):not(.interactive)")];
    for (const each of folded) each.open = true;
    window.addEventListener("afterprint", () => folded.forEach((each) => (each.open = false)), { once: true });
  }

  form.hidden = false;
  new ResizeObserver(() => {
    document.documentElement.style.setProperty("--covered", `${form.offsetHeight + 12}px`);
  }).observe(form);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", applyFilters);
  form.addEventListener("change", applyFilters);
  form.addEventListener("reset", () => setTimeout(applyFilters));
  document.getElementById("no-penalty").addEventListener("click", () => {
    for (const box of form.querySelectorAll("[name=penalty]")) box.checked = false;
    applyFilters();
  });
  document.querySelector("main").addEventListener("click", onClick);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.matches("[data-close]")) dialog.close();
  });
  window.addEventListener("beforeprint", openForPrint);
  fillOnce("cells", () => cells.map(cellRow));
  fillOnce("numbers", () => Object.entries(points).flatMap(([name, rows]) => rows.map((point) => pointRow(data.charts[name].title, point))));
  applyFilters();
  drawAll();
})();
