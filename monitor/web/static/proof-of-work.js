// Solve the challenge of the login form before it is sent. The work slows down whoever guesses passwords
// (monitor/web/access/proof_of_work.py).

import { computeFirstWord } from "./sha256.js";

const TRIES_PER_TURN = 5000;

/** Return a number for which the digest of challenge and number starts with the required zero bits. */
const findSolution = async (challenge) => {
  const zeroBits = Number(challenge.split(".")[0]);
  for (let number = 0; ; number += 1) {
    if (computeFirstWord(`${challenge}:${number}`) >>> (32 - zeroBits) === 0) {
      return number;
    }
    if (number % TRIES_PER_TURN === TRIES_PER_TURN - 1) {
      // The page stays responsive meanwhile.
      await new Promise((resume) => setTimeout(resume, 0));
    }
  }
};

const form = document.querySelector("form[data-challenge]");
form?.addEventListener("submit", async (event) => {
  const { solution } = form.elements;
  if (solution.value) {
    return;
  }
  event.preventDefault();
  form.querySelector("button").disabled = true;
  document.getElementById("working").hidden = false;
  solution.value = String(await findSolution(form.dataset.challenge));
  form.submit();
});
