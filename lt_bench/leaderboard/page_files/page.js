"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const state = { board: 0, sort: null, descending: true, open: new Set() };

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

function drawn(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

// Accuracy on the board's common scale: pale bar over test images, dark line over seeds, dot at the mean.
function interval(row, board) {
  const [low, high] = board.scale;
  const at = (value) => (4 + (142 * (value - low)) / (high - low || 1)).toFixed(1);
  const svg = drawn("svg", { class: "interval", viewBox: "0 0 150 18", role: "img" });
  const title = drawn("title", {});
  title.textContent = "pale: 95 % over test images; line: 95 % over seeds";
  svg.append(title);
  if (row.images) svg.append(drawn("line", { class: "images", x1: at(row.images[0]), x2: at(row.images[1]), y1: 9, y2: 9 }));
  if (row.seeds) svg.append(drawn("line", { class: "seeds", x1: at(row.seeds[0]), x2: at(row.seeds[1]), y1: 9, y2: 9 }));
  svg.append(drawn("circle", { cx: at(row.mean), cy: 9, r: 3.5 }));
  return svg;
}

// A long strategy name may break after an underscore.
function breakable(text) {
  return text.split("_").flatMap((part, index) => (index ? ["_", make("wbr"), part] : [part]));
}

function cellNode(cell, column) {
  const [value, spread] = cell.t.split(" ± ");
  const kind = cell.p === 1 ? "best" : cell.p === 2 ? "second" : "";
  const secondary = column.phone ? "" : "secondary";
  const node = make("td", { class: [column.style === "text" ? "text" : "", secondary].join(" ").trim() || null, title: cell.s || null });
  node.append(make("span", { class: kind || null }, value));
  if (spread) node.append(make("span", { class: "pm" }, " ± " + spread));
  return node;
}

function detail(row, board, width) {
  const facts = make("dl", { class: "facts" });
  board.columns.forEach((column, index) => {
    if (row.cells[index].t !== "–") facts.append(fact(column.about ? column.title + ": " + column.about : column.title, row.cells[index].t, column.key === "command"));
  });
  for (const [name, value] of Object.entries(row.facts)) facts.append(fact(name, value, value.length > 60));
  return make("tr", { class: "detail" }, make("td", { colspan: width }, facts));
}

function fact(name, value, wide) {
  return make("div", { class: wide ? "wide" : null }, make("dt", {}, name), make("dd", {}, wide ? make("code", {}, value) : value));
}

function sorted(board) {
  const needle = byId("filter").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const rows = board.rows.filter((row) => needle.every((word) => row.search.includes(word)));
  if (state.sort === null) return rows;
  const sign = state.descending ? -1 : 1;
  const key = (row) => (state.sort === -1 ? row.label : row.cells[state.sort].v ?? (board.columns[state.sort].style === "text" ? row.cells[state.sort].t : null));
  return rows.slice().sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === null || y === null) return (x === null) - (y === null); // what is missing stays last
    return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true }));
  });
}

function header(board, index, title, about, classes) {
  const active = state.sort === index;
  const sort = () => {
    const lower = index === -1 || board.columns[index].style === "text" || board.columns[index].better === "lower";
    state.descending = active ? !state.descending : !lower;
    state.sort = index;
    table();
  };
  return make("th", { class: classes || null, scope: "col", title: about || null, "aria-sort": active ? (state.descending ? "descending" : "ascending") : null }, make("button", { type: "button", onclick: sort }, title));
}

function table() {
  const board = data.boards[state.board];
  const everything = byId("all").checked;
  const shown = board.columns.map((column, index) => ({ column, index })).filter(({ column }) => everything || column.main);
  const head = make("tr", {}, header(board, -1, "Strategy", "", ""));
  for (const { column, index } of shown) {
    const classes = [column.style === "text" ? "text" : "", column.phone ? "" : "secondary"].join(" ").trim();
    head.append(header(board, index, column.title, column.about, classes));
    if (column.key === "accuracy") head.append(make("th", { class: "text", scope: "col" }, "95 %"));
  }
  const rows = sorted(board);
  const body = make("tbody", {});
  for (const row of rows) {
    const toggle = () => {
      state.open.has(row.label) ? state.open.delete(row.label) : state.open.add(row.label);
      table();
    };
    const line = make("tr", { class: "row", onclick: toggle });
    line.append(make("td", {}, make("button", { class: "name", type: "button", "aria-expanded": String(state.open.has(row.label)) }, ...breakable(row.label))));
    for (const { column, index } of shown) {
      line.append(cellNode(row.cells[index], column));
      if (column.key === "accuracy") line.append(make("td", { class: "text" }, interval(row, board)));
    }
    body.append(line);
    if (state.open.has(row.label)) body.append(detail(row, board, head.children.length));
  }
  byId("measured").replaceChildren(make("table", { class: everything ? "everything" : null }, make("thead", {}, head), body));
  byId("count").textContent = rows.length + " of " + board.rows.length + " rows. Click a row for its details, a heading to sort.";
}

function plain(title, note, columns, rows) {
  const head = make("tr", {}, ...columns.map((name, index) => make("th", { class: index ? null : "text", scope: "col" }, name)));
  const body = rows.map((cells) => make("tr", {}, ...cells.map((text) => make("td", { class: /^[\d.,–†-]+$/.test(text) ? null : "text" }, text))));
  return [make("h2", {}, title), make("p", { class: "soft" }, note), make("div", { class: "scroll" }, make("table", { class: "everything" }, make("thead", {}, head), make("tbody", {}, ...body)))];
}

// Several panels side by side need the whole width.
function figure(plot) {
  const image = make("img", { src: plot.src, alt: plot.caption });
  const node = make("figure", {}, image, make("figcaption", {}, plot.caption));
  image.addEventListener("load", () => node.classList.toggle("wide", image.naturalWidth > 1.75 * image.naturalHeight));
  return node;
}

function show() {
  const board = data.boards[state.board];
  byId("identity").textContent = board.title + " · split " + board.split + " · cache " + board.cache;
  byId("notes").replaceChildren(...board.notes.map((note) => make("li", {}, note)));
  byId("plots").replaceChildren(
    ...(board.plots.length ? [make("h2", {}, "Plots")] : []),
    make("div", { class: "figures" }, ...board.plots.map((plot) => figure(plot))),
  );
  const across = data.across.map((part) => plain("Across boards", part.note, part.columns, part.rows)).flat();
  byId("across").replaceChildren(...across);
  byId("published").replaceChildren(...(board.published.length ? plain("Published", "Printed in papers and repositories, not measured here; settings differ. † read on an index page.", ["Strategy", "Backbone", "Top-1", "Many", "Medium", "Few", "Source"], board.published) : []));
  table();
}

function choose(index) {
  state.board = index;
  state.open.clear();
  const board = data.boards[index];
  byId("dataset").value = board.dataset;
  const same = data.boards.map((other, position) => ({ other, position })).filter(({ other }) => other.dataset === board.dataset);
  byId("protocol").replaceChildren(...same.map(({ other, position }) => make("option", { value: position }, other.setting)));
  byId("protocol").value = String(index);
  history.replaceState(null, "", "#" + board.slug);
  show();
}

const datasets = [...new Set(data.boards.map((board) => board.dataset))];
byId("dataset").append(...datasets.map((name) => make("option", { value: name }, name)));
byId("dataset").addEventListener("change", (event) => choose(data.boards.findIndex((board) => board.dataset === event.target.value)));
byId("protocol").addEventListener("change", (event) => choose(Number(event.target.value)));
byId("filter").addEventListener("input", table);
byId("all").addEventListener("change", table);
const root = document.documentElement;
root.dataset.theme = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
byId("theme").addEventListener("click", () => (root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark"));
choose(Math.max(0, data.boards.findIndex((board) => "#" + board.slug === location.hash)));
