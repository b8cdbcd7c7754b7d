/**
 * The child process that works on passwords: argon2id and the strength estimate cost tens of milliseconds of a core
 * each, which detections need more. It does one thing at a time and leaves when its parent does.
 */

import { ZxcvbnFactory } from '@zxcvbn-ts/core'
import { adjacencyGraphs, dictionary } from '@zxcvbn-ts/language-common'
import argon2 from 'argon2'

export type PasswordTask =
  | { readonly kind: 'hash'; readonly password: string }
  | { readonly kind: 'verify'; readonly password: string; readonly hash: string }
  | { readonly kind: 'strength'; readonly password: string; readonly about: readonly string[] }

/** Hash, whether it matches, or the base-10 logarithm of the guesses it takes. */
export type PasswordResult = string | boolean | number

/** OWASP's first choice for argon2id where memory is not scarce: 19 MiB, two passes, one lane. */
const parameters = { type: argon2.argon2id, memoryCost: 19_456, timeCost: 2, parallelism: 1 }

/** What comes after these characters is not looked at: the estimate's cost grows with the square of the length. */
const estimatedCharacters = 64
const zxcvbn = new ZxcvbnFactory({ dictionary, graphs: adjacencyGraphs, maxLength: estimatedCharacters })

async function work(task: PasswordTask): Promise<PasswordResult> {
  switch (task.kind) {
    case 'hash':
      return argon2.hash(task.password, parameters)
    case 'verify':
      return argon2.verify(task.hash, task.password)
    case 'strength':
      return zxcvbn.check(task.password, [...task.about]).guessesLog10
  }
}

process.on('message', (task: PasswordTask) => {
  work(task).then(
    (result) => process.send?.({ result }),
    (error: unknown) => process.send?.({ error: error instanceof Error ? error.message : String(error) }),
  )
})
process.on('disconnect', () => process.exit())
