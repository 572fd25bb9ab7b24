
"use strict";
const body = document.querySelector("tbody");
const rows = [...body.rows];
const filter = document.getElementById("filter");
function show() {
  const wanted = filter.value.toLowerCase();
  let shown = 0;
  for (const row of rows) {
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
    shown += row.hidden ? 0 : 1;
  }
  document.getElementById("shown").textContent = `${shown} of ${rows.length} instances`;
}
filter.addEventListener("input", show);
document.querySelectorAll("th").forEach((heading, column) => {
  let direction = 1;
  heading.addEventListener("click", () => {
    const text = (row) => row.cells[column].textContent;
    rows.sort((one, other) => direction * text(one).localeCompare(text(other), "en", { numeric: true }));
    direction = -direction;
    body.append(...rows);
  });
});
show();
