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
