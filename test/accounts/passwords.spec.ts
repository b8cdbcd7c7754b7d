import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createPasswords, PasswordsBusy } from '../../src/accounts/passwords.ts'

function passwords(options: { maxWaiting?: number } = {}) {
  const made = createPasswords(options)
  onTestFinished(() => made.close())
  return made
}

/** Process ids of this process's children whose command line names the password process. */
function children(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const parent = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1]
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        return Number(parent) === process.pid && command.includes('password-process')
      } catch {
        return false // ended meanwhile
      }
    })
}
/** @throws Error when there is none: a signal to process 0 would end this whole process group */
function firstChild(): number {
  const [pid] = children()
  if (pid === undefined) throw new Error('there is no password process')
  return pid
}
const niceOf = (pid: number, thread: string) =>
  Number(readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').split(') ')[1]?.split(' ')[16])

describe('passwords', () => {
  test('are kept as argon2id with the parameters OWASP names, each with a salt of its own', async () => {
    const { hash } = passwords()
    const [one, other] = [await hash('correct horse battery'), await hash('correct horse battery')]
    expect(one).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
    expect(one).not.toBe(other)
  })

  test('match in every Unicode spelling, and nothing matches where there is no hash', async () => {
    const { hash, verify } = passwords()
    const kept = await hash('Zoë’s long password')
    expect(await verify('Zoë’s long password'.normalize('NFD'), kept)).toBe(true)
    expect(await verify('Zoe’s long password', kept)).toBe(false)
    expect(await verify('Zoë’s long password', null)).toBe(false)
    expect(await verify('x'.repeat(10_000), kept)).toBe(false)
  })

  test('a check without a hash does the work of one with a wrong password', async () => {
    const { hash, verify } = passwords()
    const kept = await hash('correct horse battery')
    const times: Record<'none' | 'kept', number[]> = { none: [], kept: [] }
    // In turns, so that a busy moment of the machine falls on both; without the work the ratio would be near 0.
    for (let i = 0; i < 7; i++) {
      for (const against of ['none', 'kept'] as const) {
        const before = performance.now()
        await verify('wrong horse battery', against === 'none' ? null : kept)
        times[against].push(performance.now() - before)
      }
    }
    const median = (of: readonly number[]) => of.toSorted((x, y) => x - y)[3] ?? 0
    expect(median(times.none) / median(times.kept)).toBeGreaterThan(0.2)
  })

  test.each([
    ['too short', 'short pass'],
    ['too long', 'x7 '.repeat(50)],
    ['a common password twice', 'password1234'],
    ['a pattern', 'abcabcabcabc'],
    ['a keyboard row', 'qwertyuiop12'],
    ['one’s own address', 'ada.lovelace@example.com'],
  ])('a new one is refused for being %s', async (_, password) => {
    const { fault } = passwords()
    expect(await fault(password, 'ada.lovelace@example.com')).toMatch(/\.$/)
  })

  test('a good one is taken', async () => {
    const { fault } = passwords()
    expect(await fault('four unrelated tidy gloves', 'ada@example.com')).toBeNull()
    expect(await fault('Zoë’s ピアノ lesson', 'ada@example.com')).toBeNull()
  })
})

describe('the process that works on them', () => {
  test('waits in a bounded line: beyond it the answer is to try again later', async () => {
    const { verify } = passwords({ maxWaiting: 3 })
    const asked = Array.from({ length: 5 }, () => verify('any', null))
    const ends = await Promise.allSettled(asked)
    expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected'])
    expect(ends[4]).toMatchObject({ reason: expect.any(PasswordsBusy) })
  })

  test.runIf(process.platform === 'linux')('gives way to detections with every one of its threads', async () => {
    const { hash } = passwords()
    await hash('correct horse battery')
    const pid = firstChild()
    const nice = readdirSync(`/proc/${pid}/task`).map((thread) => niceOf(pid, thread))
    expect(nice.length).toBeGreaterThan(2)
    expect(new Set(nice)).toEqual(new Set([10]))
  })

  test.runIf(process.platform === 'linux')('is replaced when it dies, and ends with close', async () => {
    const made = createPasswords()
    const kept = await made.hash('correct horse battery')
    const pid = firstChild()
    const asked = made.hash('correct horse battery')
    process.kill(pid, 'SIGKILL')
    await expect(asked).rejects.toThrow(PasswordsBusy)
    expect(await made.verify('correct horse battery', kept)).toBe(true)
    expect(children()).not.toContain(pid)
    await made.close()
    expect(children()).toEqual([])
    await expect(made.hash('more')).rejects.toThrow(PasswordsBusy)
  })
})
