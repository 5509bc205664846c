// The foot of the chart: level, visibility and maintenance along the time, and marks that open their alert.
"use strict";
(() => {
  const { classOfLevel, formatInstant, nameOfLevel } = Slopeward;
  const SVG = "http://www.w3.org/2000/svg";
  const HEIGHT = 52;
  const LEFT = 52; // as wide as the y axis of the plots
  const RIGHT = 8;
  const NEAR_PX = 14; // marks that are nearer than this become one
  const MOST_LISTED = 6;
  const SHAPES = {
    level: "M-6 -5 H6 L0 6 Z",
    verification: "M0 -6 L6 0 L0 6 L-6 0 Z",
    event: "M-5 -5 H5 V5 H-5 Z",
    report: "M0 -5 A5 5 0 1 0 0.01 -5 Z",
  };

  function makeNode(name, attributes, title) {
    const node = document.createElementNS(SVG, name);
    for (const [attribute, value] of Object.entries(attributes)) {
      node.setAttribute(attribute, value);
    }
    if (title) {
      const text = document.createElementNS(SVG, "title");
      text.textContent = title;
      node.append(text);
    }
    return node;
  }

  const formatRange = (from, to) => tr("{from} to {to}", { from: formatInstant(from), to: formatInstant(to) });

  function drawLevels(answer, axis) {
    const nodes = [];
    for (const row of answer.ribbon) {
      if (!axis.contains(row.from, row.to)) {
        continue;
      }
      const x = axis.toX(row.from);
      const width = Math.max(axis.toX(row.to) - x, 2);
      const state = tr("{level}, sight {sight}", {
        level: nameOfLevel(answer.levels, row.level),
        sight: tr(row.seen),
      });
      const title = `${state}: ${formatRange(row.from, row.to)}`;
      const colour = `rb-${classOfLevel(answer.levels, row.level)}`;
      nodes.push(
        makeNode("rect", { x, y: 26, width, height: 14, class: colour }, title),
        makeNode("rect", { x, y: 42, width, height: 6, class: `seen-${row.seen}` }, title),
      );
    }
    return nodes;
  }

  function drawMaintenance(answer, axis) {
    return answer.maintenance
      .filter((work) => axis.contains(work.from, work.to))
      .map((work) => {
        const x = axis.toX(work.from);
        const width = Math.max(axis.toX(work.to) - x, 3);
        const title = `${tr("maintenance")} ${work.station}: ${work.reason} (${formatRange(work.from, work.to)})`;
        return makeNode("rect", { x, y: 21, width, height: 4, class: "upkeep" }, title);
      });
  }

  function groupMarks(marks, axis) {
    const groups = [];
    for (const mark of marks) {
      if (mark.at < axis.from || mark.at > axis.to) {
        continue;
      }
      const x = axis.toX(mark.at);
      const previous = groups.at(-1);
      if (previous && x - previous.x < NEAR_PX) {
        previous.marks.push(mark);
      } else {
        groups.push({ x, marks: [mark] });
      }
    }
    return groups;
  }

  // The mark with the highest level represents its group; of equal levels, one with an alert.
  function chooseMark(marks) {
    return marks.reduce((best, mark) => {
      const isHigher = (mark.level ?? -1) > (best.level ?? -1);
      const opensAlert = mark.level === best.level && mark.alert && !best.alert;
      return isHigher || opensAlert ? mark : best;
    });
  }

  function describeMarks(marks) {
    const lines = marks.slice(0, MOST_LISTED).map((mark) => `${tr(mark.kind)} ${formatInstant(mark.at)}: ${mark.text}`);
    if (marks.length > MOST_LISTED) {
      lines.push(`+ ${marks.length - MOST_LISTED}`);
    }
    return lines.join("\n");
  }

  function drawMarks(answer, axis) {
    const nodes = [];
    for (const { x, marks } of groupMarks(answer.marks, axis)) {
      const mark = chooseMark(marks);
      const title = describeMarks(marks);
      const colour = mark.kind === "level" ? `rb-${classOfLevel(answer.levels, mark.level)}` : "";
      const shape = makeNode(
        "path",
        { d: SHAPES[mark.kind], class: `mark ${mark.kind} ${colour}`, transform: `translate(${x} 12)` },
        title,
      );
      if (mark.alert) {
        const link = makeNode("a", { href: `/alerts/${mark.alert}`, "aria-label": title });
        const target = makeNode("rect", { x: x - 12, y: 0, width: 24, height: 24, fill: "transparent" });
        link.append(target, shape);
        nodes.push(link);
      } else {
        nodes.push(shape);
      }
      if (marks.length > 1) {
        const count = makeNode("text", { x: x + 8, y: 10, class: "small", "aria-hidden": "true" });
        count.textContent = String(marks.length);
        nodes.push(count);
      }
    }
    return nodes;
  }

  function makeAxis(width, [from, to]) {
    const inner = width - LEFT - RIGHT;
    return {
      from,
      to,
      inner,
      toX: (at) => LEFT + inner * Math.min(Math.max((at - from) / (to - from), 0), 1),
      contains: (start, end) => end > from && start < to,
    };
  }

  /** Draw the foot in its element for a range of time. */
  function drawFoot(foot, answer, range) {
    const width = foot.clientWidth;
    const axis = makeAxis(width, range);
    const svg = makeNode("svg", {
      width,
      height: HEIGHT,
      viewBox: `0 0 ${width} ${HEIGHT}`,
      role: "group",
      "aria-label": tr("Level, maintenance and marks along the time"),
    });
    const label = makeNode("text", { x: LEFT - 6, y: 36, "text-anchor": "end", class: "small" });
    label.textContent = tr("level");
    const background = { x: LEFT, y: 26, width: Math.max(axis.inner, 0), height: 14, class: "rb-none" };
    svg.append(
      label,
      makeNode("rect", background, tr("not evaluated")),
      ...drawLevels(answer, axis),
      ...drawMaintenance(answer, axis),
      ...drawMarks(answer, axis),
      makeNode("path", { d: `M0 0 V${HEIGHT}`, class: "cursor", visibility: "hidden" }),
    );
    foot.replaceChildren(svg);
  }

  /** Move the cursor of the foot to an instant; null hides it. */
  function moveFootCursor(foot, at, range) {
    const cursor = foot.querySelector(".cursor");
    if (!cursor) {
      return;
    }
    cursor.setAttribute("visibility", at === null ? "hidden" : "visible");
    if (at !== null) {
      cursor.setAttribute("transform", `translate(${makeAxis(foot.clientWidth, range).toX(at)} 0)`);
    }
  }

  Object.assign(SlopewardChart, { drawFoot, moveFootCursor });
})();
