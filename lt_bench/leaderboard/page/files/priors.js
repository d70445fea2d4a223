// Test sets of other class shares: every row at a prior, its places and intervals; null where the board is shown as it is ranked.
function prior(board) {
  return board.priors[state.prior] ? state.prior : null;
}

function lead(board) {
  return prior(board) || board.lead;
}

// What is drawn of a row: its mean and its ends over seeds and over test images.
function score(row, board) {
  if (!prior(board)) return row;
  const [mean, low, high] = row.priors[state.prior];
  return { mean, seeds: low === null ? null : [low, high], images: null };
}

function scale(board) {
  return prior(board) ? board.priors[state.prior].scale : board.scale;
}

function baseline(board) {
  if (!prior(board)) return board.baseline;
  const untouched = board.rows.find((row) => row.label === "joint");
  return untouched ? score(untouched, board).mean : null;
}

// By the printed means: what reads equal has one place.
function place(row, board) {
  const printed = (one) => score(one, board).mean.toFixed(4);
  return 1 + board.rows.filter((other) => Number(printed(other)) > Number(printed(row))).length;
}

function ranked(board) {
  return prior(board) ? board.rows.slice().sort((a, b) => score(b, board).mean - score(a, board).mean) : board.rows;
}

function cellText(row, index, board) {
  return prior(board) && board.columns[index].key === "rank" ? String(place(row, board)) : row.cells[index].t;
}

function showPriors(board) {
  const named = Object.entries(board.priors);
  byId("prior").replaceChildren(make("option", { value: "" }, "as ranked"), ...named.map(([key, one]) => make("option", { value: key }, one.title)));
  byId("prior").value = prior(board) || "";
  byId("prior").disabled = !named.length;
}
