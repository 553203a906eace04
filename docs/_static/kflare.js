// Names for what the theme leaves without one, for screen readers; tables that scroll can be reached by keys.
document.addEventListener("DOMContentLoaded", () => {
  for (const summary of document.querySelectorAll("summary:has(> .toctree-toggle)")) {
    const page = summary.closest("li").querySelector("a");
    summary.setAttribute("aria-label", `Pages below ${page ? page.textContent.trim() : "this one"}`);
  }
  for (const link of document.querySelectorAll(".sphx-glr-thumbcontainer a")) {
    link.setAttribute("aria-label", link.textContent.trim());
  }
  for (const table of document.querySelectorAll(".bd-article table, .bd-article .math")) {
    if (table.scrollWidth > table.clientWidth) table.tabIndex = 0;
  }
});

// What a table or a program has beyond its right edge fades away there, until it is scrolled to.
function showCut(element) {
  element.classList.toggle("cut", element.scrollLeft + element.clientWidth < element.scrollWidth - 2);
}
document.addEventListener("DOMContentLoaded", () => {
  const wide = document.querySelectorAll(".bd-article table, .bd-article pre");
  const all = () => wide.forEach(showCut);
  wide.forEach((one) => one.addEventListener("scroll", () => showCut(one), { passive: true }));
  addEventListener("resize", all);
  all();
});
