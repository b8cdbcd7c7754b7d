/** Passwords: their hash, their check, and whether one is good enough. The work is done in a niced child process. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { getPriority, setPriority } from 'node:os'
import { fileURLToPath } from 'node:url'
import { builtModule } from '../built.ts'
import type { PasswordResult, PasswordTask } from './password-process.ts'

/** Too many passwords are waiting, or the process is shutting down: nothing was done, try again later. */
export class PasswordsBusy extends Error {
  override name = 'PasswordsBusy'
}

export interface Passwords {
  /** argon2id in PHC notation. @throws PasswordsBusy */
  hash(password: string): Promise<string>
  /** Costs the same with `hash` null, for an account that does not exist, and is then false. @throws PasswordsBusy */
  verify(password: string, hash: string | null): Promise<boolean>
  /** What is wrong with a new password, as a sentence; null when nothing is. @throws PasswordsBusy */
  fault(password: string, email: string): Promise<string | null>
  /** Lets what was begun finish and ends the child process. */
  close(): Promise<void>
}

const passwordCharacters = { min: 12, max: 128 }

/** Sign-ins that may wait; at some 40 ms each the last one waits for five seconds on an idle machine. */
const defaultMaxWaiting = 128
/** Detections go before sign-ins: under load the child gets a fraction of a core, and never none. */
const niceness = 10
/** Guesses an attacker needs, as base-10 logarithm. Ten failures lock an account, so this is about leaked hashes. */
const minGuessesLog10 = 8

/** Unicode has several spellings of one password; keyboards differ in which they send. */
const spelled = (password: string): string => password.normalize('NFKC')
const fits = (password: string): boolean => [...password].length <= passwordCharacters.max

export function createPasswords({ maxWaiting = defaultMaxWaiting } = {}): Passwords {
  let child: ChildProcess | undefined
  let waiting = 0
  let closed = false
  let last: Promise<unknown> = Promise.resolve()

  /** One at a time, in order. */
  function run(task: PasswordTask): Promise<PasswordResult> {
    if (closed || waiting >= maxWaiting) {
      return Promise.reject(new PasswordsBusy('Too many passwords are being checked. Try again in a moment.'))
    }
    waiting += 1
    const result = last
      .then(() => ask(task))
      .finally(() => {
        waiting -= 1
      })
    last = result.catch(() => {})
    return result
  }

  function ask(task: PasswordTask): Promise<PasswordResult> {
    child ??= start()
    const asked = child
    return new Promise<PasswordResult>((resolve, reject) => {
      const onMessage = (answer: { readonly result: PasswordResult } | { readonly error: string }) => {
        settle()
        if ('error' in answer) reject(new Error(answer.error))
        else resolve(answer.result)
      }
      // Ended, or could not be reached: the next task starts another.
      const onGone = () => {
        settle()
        reject(new PasswordsBusy('The process that checks passwords ended. Try again in a moment.'))
      }
      const settle = () => asked.off('message', onMessage).off('exit', onGone).off('error', onGone)
      asked.on('message', onMessage).on('exit', onGone).on('error', onGone)
      asked.send(task)
    })
  }

  function start(): ChildProcess {
    const started = fork(fileURLToPath(builtModule(import.meta.url, './password-process.js')), {
      execArgv: [],
      // Passwords arrive over the channel; of the environment, which holds secrets, it needs nothing else.
      env: {
        UV_THREADPOOL_SIZE: '1',
        ...(process.env.NODE_ENV === undefined ? {} : { NODE_ENV: process.env.NODE_ENV }),
      },
      serialization: 'advanced',
    })
    const forget = () => {
      if (child === started) child = undefined
    }
    started.on('exit', forget).on('error', forget)
    // On Linux this is a property of threads, and those that a thread starts inherit it: now it has not started any.
    if (started.pid !== undefined) setPriority(started.pid, Math.max(getPriority(), niceness))
    // It does not keep this process running by itself; while it works, somebody waits for the answer.
    started.unref()
    started.channel?.unref()
    return started
  }

  return {
    async hash(password) {
      return String(await run({ kind: 'hash', password: spelled(password) }))
    },
    async verify(password, hash) {
      if (!fits(password)) return false
      // To check a hash is to make it anew: without one to compare with, making it takes as long.
      if (hash === null) return run({ kind: 'hash', password: spelled(password) }).then(() => false)
      return (await run({ kind: 'verify', password: spelled(password), hash })) === true
    },
    async fault(password, email) {
      const { min, max } = passwordCharacters
      const { length } = [...spelled(password)]
      if (length < min) return `This has ${length} characters. A password has at least ${min}.`
      if (length > max) return `This has ${length} characters. A password has at most ${max}.`
      const about = [email, ...email.split(/[@.+]/), 'liveness', 'detection']
      const guesses = await run({ kind: 'strength', password: spelled(password), about })
      if (Number(guesses) >= minGuessesLog10) return null
      return 'This is among the first that would be guessed. Take several unrelated words, or let a password manager make one.'
    },
    async close() {
      closed = true
      child?.ref()
      child?.channel?.ref()
      await last
      const leaving = child
      if (leaving === undefined) return
      const left = once(leaving, 'exit')
      leaving.disconnect()
      await left
    },
  }
}
