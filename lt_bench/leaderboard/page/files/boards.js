// Boards side by side: an entry for each with its best row and the places of rows that are on every board.
const MOST_COMMON = 6;

function isShown(board) {
  return data.boards.indexOf(board) === state.board;
}

function opening(board, title) {
  const open = () => {
    choose(data.boards.indexOf(board));
    remember();
  };
  return make("button", { type: "button", class: "board", "data-slug": board.slug, onclick: open }, title);
}

function bestOf(board) {
  const row = board.rows[0];
  const ends = row.images || row.seeds;
  const text = (value) => (board.factor * value).toFixed(board.factor > 1 ? 2 : 4);
  return [text(row.mean), ends ? text(ends[0]) + " to " + text(ends[1]) : ""];
}

function boardIndex() {
  if (data.boards.length < 2) return;
  const common = [...new Set(data.across.flatMap((part) => part.rows.slice(0, MOST_COMMON).map((line) => line[0])))];
  const placed = new Map(data.across.flatMap((part) => part.slugs.map((slug, at) => [slug, new Map(part.rows.map((line) => [line[0], line[3 + at]]))])));
  const lines = data.boards.map((board) => {
    const first = board.rows.filter((row) => row.standing && row.standing.first === 1).length;
    const places = common.map((label) => (placed.get(board.slug) || new Map()).get(label) || MISSING);
    return [[opening(board, board.short), board.under], board.rows[0].label, bestOf(board), first ? first + " of " + board.ranked : String(board.ranked), ...places];
  });
  const note = "Best row with its 95 % interval over test images, or the groups that they come in (over seeds without statistics)" + (common.length ? "; then places among the rows that are on every board." : ".");
  byId("boards").replaceChildren(make("h2", {}, data.boards.length + " boards"), make("p", { class: "soft" }, note), grid("Boards", ["Board", "Best row", "Best", "May be the best", ...common], lines));
}

function acrossBoards() {
  const parts = data.across.map((part) => {
    const boards = part.slugs.map((slug, at) => opening(data.boards.find((board) => board.slug === slug), part.columns[3 + at]));
    return plain("Across boards", part.note, part.slugs.length ? [...part.columns.slice(0, 3), ...boards] : part.columns, part.rows);
  });
  byId("across").replaceChildren(...parts.flat());
  const differences = data.differences.map((part) => plain("Differences over boards", part.note, part.columns, part.rows));
  byId("differences").replaceChildren(...differences.flat());
}

function markBoard() {
  for (const button of document.querySelectorAll("button.board")) button.setAttribute("aria-current", String(button.dataset.slug === data.boards[state.board].slug));
}
