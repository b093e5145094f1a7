// What the journeys share. A journey says each step once it is done, one JSON a line on stdout, and asks the test for
// what only the test can do.
import { createInterface } from "node:readline";

export const [rpc, ws, key] = process.argv.slice(2);
export const ETHER = 10n ** 18n;
export const GWEI = 10n ** 9n;
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const tell = (line) => console.log(JSON.stringify(line));

/** Do a step; the first that fails ends the journey. */
export async function step(name, work) {
  try {
    await work();
  } catch (error) {
    console.error(`step ${name}:`, error);
    process.exit(1);
  }
  tell({ step: name });
}

/** What a library makes of a refusal: checked by the test. */
export const refused = (kind, answer) => tell({ refused: kind, ...answer });

/** Ask the test for something and wait until it is done. */
export async function ask(what) {
  tell({ ask: what });
  await answers.next();
}

/** What `look` answers as soon as it is true. */
export async function until(look, what, seconds = 20) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await look();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

/** The error of what must fail. */
export async function failure(work) {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}
