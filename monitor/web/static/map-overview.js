// The map of all sites: each by its level; a group shows the worst level in it, and says its word.
"use strict";
(() => {
  const M = window.SlopewardMap;
  const holder = document.querySelector('[data-map="overview"]');
  if (!holder) {
    return;
  }
  const REFRESH_MS = 10_000;
  const URGENCY = "u0b1234"; // an unknown level is below every known one but never hidden: groups count it
  const fold = holder.closest("details");
  const wide = matchMedia("(min-width: 900px)");
  const adjust = () => {
    fold.open = wide.matches;
  };
  adjust();
  wide.addEventListener("change", adjust);

  let data = M.NOTHING;
  let map = null;
  let newest = 0;
  async function loadSites() {
    const found = await M.load("/api/v1/sites.geojson");
    found.features = found.features.filter((f) => f.geometry);
    for (const { properties: p } of found.features) {
      const colour = M.levelClass(p.level_name, p.level, p.top_level);
      const word = p.level === null ? tr("unknown") : tr(p.level_name);
      const blind = p.level === null || p.observability !== "full";
      Object.assign(p, {
        colour,
        mark: `site|slope|${colour}|${blind ? "bad" : ""}`,
        label: `${p.name}\n${word}${p.observability === "blind" ? `, ${tr("blind")}` : ""}`,
        worst: `${URGENCY.indexOf(colour)}${colour}${word}`,
        blind: blind ? 1 : 0,
        order: -URGENCY.indexOf(colour),
      });
    }
    data = found;
    map?.getSource("sites")?.setData(data);
  }
  function style() {
    const text = M.css("--text");
    const halo = M.css("--ground");
    const colour = ["slice", ["get", "worst"], 1, 2];
    const isGroup = ["has", "point_count"];
    const urgency = ["to-number", ["slice", ["get", "worst"], 0, 1]];
    const names = { ...M.names(1.5), "text-max-width": 7 };
    const ink = { "text-color": text, "text-halo-color": halo, "text-halo-width": 2 };
    return {
      sources: {
        sites: {
          type: "geojson",
          data,
          cluster: true,
          clusterRadius: 36,
          clusterMaxZoom: 15,
          clusterProperties: {
            worst: [
              ["case", [">", ["get", "worst"], ["accumulated"]], ["get", "worst"], ["accumulated"]],
              ["get", "worst"],
            ],
            blind: ["+", ["get", "blind"]],
          },
        },
      },
      layers: [
        {
          id: "site-names",
          type: "symbol",
          source: "sites",
          filter: ["!", isGroup],
          layout: { ...names, "text-field": ["get", "label"], "symbol-sort-key": ["get", "order"] },
          paint: ink,
        },
        {
          id: "group-names",
          type: "symbol",
          source: "sites",
          filter: isGroup,
          layout: {
            ...names,
            "symbol-sort-key": ["-", 0, urgency],
            "text-field": [
              "concat",
              ["slice", ["get", "worst"], 2],
              "\n",
              ["to-string", ["get", "point_count"]],
              " ",
              tr("sites"),
            ],
          },
          paint: ink,
        },
        {
          id: "sites",
          type: "symbol",
          source: "sites",
          filter: ["!", isGroup],
          layout: {
            "icon-image": ["get", "mark"],
            "icon-allow-overlap": true,
            "symbol-sort-key": ["-", 0, ["get", "order"]],
          },
        },
        {
          id: "groups",
          type: "symbol",
          source: "sites",
          filter: isGroup,
          layout: {
            "icon-image": ["concat", "group|slope|", colour, "|", ["case", [">", ["get", "blind"], 0], "bad", ""]],
            "icon-allow-overlap": true,
            "symbol-sort-key": urgency,
          },
        },
      ],
    };
  }
  async function begin() {
    const [ground] = await Promise.all([
      M.loadMap("/api/v1/map/tiles", []).then((tiles) => ({ ...M.PLAIN, tiles })),
      loadSites(),
    ]);
    const places = data.features.map((f) => f.geometry.coordinates);
    const lons = places.map((p) => p[0]);
    const lats = places.map((p) => p[1]);
    if (!places.length) {
      return;
    }
    const bounds = [
      [Math.min(...lons) - 0.01, Math.min(...lats) - 0.01],
      [Math.max(...lons) + 0.01, Math.max(...lats) + 0.01],
    ];
    ({ map } = await M.open(holder, {
      ground,
      bounds,
      about: tr("Map of all sites; the list beside it says the same"),
      style,
      aside: 120,
    }));
    map.on("click", async (event) => {
      const [found] = map.queryRenderedFeatures(
        [
          [event.point.x - 12, event.point.y - 12],
          [event.point.x + 12, event.point.y + 12],
        ],
        { layers: ["sites", "groups", "site-names", "group-names"] },
      );
      if (!found) {
        return;
      }
      if (found.properties.cluster_id === undefined) {
        location.assign(`/sites/${encodeURIComponent(found.properties.site)}`);
        return;
      }
      map.easeTo({
        center: found.geometry.coordinates,
        zoom: await map.getSource("sites").getClusterExpansionZoom(found.properties.cluster_id),
      });
    });
    for (const layer of ["sites", "groups"]) {
      map.on("mouseenter", layer, () => {
        map.getCanvas().style.cursor = "pointer";
      });
      map.on("mouseleave", layer, () => {
        map.getCanvas().style.cursor = "";
      });
    }
    document.addEventListener("refreshed", () => {
      if (performance.now() - newest < REFRESH_MS) {
        return;
      }
      newest = performance.now();
      loadSites().catch(() => {});
    });
  }
  if (M.canDraw()) {
    M.start(holder, begin);
  } else {
    fold.closest(".sitesmap").hidden = true;
  }
})();
