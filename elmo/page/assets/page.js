// Tabs by address, and exports: all else is Dash's.
window.dash_clientside = window.dash_clientside || {};
window.dash_clientside.page = {
  // Show the panel that the address names; return its name, and the notice above it, if any.
  show: function (pathname) {
    const panels = Array.from(document.querySelectorAll("main > section"));
    const wanted = "panel-" + (pathname || "/").replace(/^\/|\/$/g, "");
    const shown = panels.find((panel) => panel.id === wanted) || panels[0];
    const found = shown.id === wanted || wanted === "panel-";
    for (const panel of panels) {
      panel.hidden = panel !== shown;
      const link = document.getElementById(panel.id.replace("panel-", "tab-"));
      if (panel === shown) {
        link.setAttribute("aria-current", "page");
        document.title = link.textContent + " · elmo";
      } else {
        link.removeAttribute("aria-current");
      }
    }
    return [shown.id.replace("panel-", ""), found ? "" : "No page has the address " + pathname + "."];
  },
};

document.addEventListener("click", function (event) {
  const button = event.target.closest("button.export");
  if (!button) {
    return;
  }
  const { name, format, csv } = button.dataset;
  if (format === "csv") {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv], { type: "text/csv" }));
    link.download = name + ".csv";
    link.click();
    URL.revokeObjectURL(link.href);
    return;
  }
  const plot = button.closest("figure").querySelector(".js-plotly-plot");
  window.Plotly.downloadImage(plot, {
    format: format,
    filename: name,
    width: Math.max(700, plot.clientWidth),
    height: plot.clientHeight,
    scale: format === "png" ? 2 : 1,
  });
});
