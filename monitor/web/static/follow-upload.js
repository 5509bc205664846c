// Follow the work of the server on an upload, and reload the page when the stage changes.

const FIRST_DELAY_MS = 400;
const INTERVAL_MS = 700;
const work = document.getElementById("work");

/** Show the progress. Return whether the stage is still that of the page. */
const showProgress = async () => {
  const answer = await fetch(work.dataset.state, { cache: "no-store" });
  const { stage, share } = await answer.json();
  if (stage !== work.dataset.stage) {
    location.reload();
    return false;
  }
  work.querySelector("progress").value = share;
  return true;
};

const follow = async () => {
  try {
    if (!(await showProgress())) {
      return;
    }
  } catch {
    // The connection may come back before the next request.
  }
  setTimeout(follow, INTERVAL_MS);
};

if (work) {
  setTimeout(follow, FIRST_DELAY_MS);
}
