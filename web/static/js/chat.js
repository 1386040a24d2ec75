// What the chat page does beyond what htmx does: keys, scrolling, the address of a new conversation.
const form = document.getElementById("ask");
const log = document.getElementById("log");

if (form) {
  const question = form.elements.question;

  question.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!form.querySelector("button").disabled && question.value.trim()) form.requestSubmit();
  });

  form.addEventListener("htmx:sse:after:connection", () => {
    question.value = "";
    question.focus();
    if (location.pathname === "/chat") history.replaceState(null, "", form.dataset.address);
  });

  // Follow the answer, unless the reader has gone up to read something else.
  let following = true;
  const atEnd = () => innerHeight + scrollY > document.documentElement.scrollHeight - 120;
  addEventListener("scroll", () => { following = atEnd(); }, { passive: true });
  const down = () => { if (following) scrollTo({ top: document.documentElement.scrollHeight }); };
  form.addEventListener("htmx:sse:before:connection", () => { following = true; });
  new MutationObserver(down).observe(log, { childList: true, subtree: true, characterData: true });
  down();
}
