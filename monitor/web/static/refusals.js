// The reason that the server gives for refusing a request.

/**
 * Return the sentence of an answer that refuses a request. It is in a JSON object or, for forms, on a page.
 *
 * @param {Response} answer
 */
export const readRefusal = async (answer) => {
  const text = await answer.text();
  try {
    const { error } = JSON.parse(text);
    if (error) {
      return error;
    }
  } catch {
    // The answer is a page.
  }
  const page = new DOMParser().parseFromString(text, "text/html");
  return page.querySelector("main p")?.textContent || String(answer.status);
};
