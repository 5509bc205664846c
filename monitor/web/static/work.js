// Follows what is at work on the server, and loads the page anew when its stage changes.
"use strict";
(() => {
  const work = document.getElementById("work");
  if (!work) {
    return;
  }
  const bar = work.querySelector("progress");
  const look = async () => {
    try {
      const answer = await fetch(work.dataset.state, { cache: "no-store" });
      const { stage, share } = await answer.json();
      if (stage !== work.dataset.stage) {
        location.reload();
        return;
      }
      bar.value = share;
    } catch {
      /* the next look may come through */
    }
    setTimeout(look, 700);
  };
  setTimeout(look, 400);
})();
