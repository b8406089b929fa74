
const body = document.querySelector("tbody");
if (body) {
  const rows = [...body.rows];
  const headings = [...document.querySelectorAll("th")];
  const order = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const text = (row, column) => row.cells[column].textContent;
  headings.forEach((heading, column) => heading.addEventListener("click", () => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    headings.forEach((each) => each.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    rows.sort((a, b) => order.compare(text(a, column), text(b, column)) * (down ? -1 : 1));
    body.append(...rows);
  }));
  const search = document.querySelector("input");
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      shown += row.hidden ? 0 : 1;
    }
    document.querySelector("output").textContent = wanted ? `${shown} of ${rows.length}` : "";
  });
}
