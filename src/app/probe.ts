/** A question to a server that may hang: it never takes longer than it may, and is never asked twice at a time. */

/**
 * @param ask must end by itself some time; while it has not, further callers wait for the same answer
 * @returns a function that never rejects: what the server said, or undefined when it failed or said nothing in time
 */
export function createProbe<T>(ask: () => Promise<T>, patienceMs: number): () => Promise<T | undefined> {
  let asked: Promise<T | undefined> | undefined
  return async () => {
    asked ??= ask()
      .catch(() => undefined)
      .finally(() => {
        asked = undefined
      })
    let timer: NodeJS.Timeout | undefined
    const tooLate = new Promise<undefined>((resolve) => {
      timer = setTimeout(resolve, patienceMs, undefined)
    })
    return Promise.race([asked, tooLate]).finally(() => clearTimeout(timer))
  }
}
