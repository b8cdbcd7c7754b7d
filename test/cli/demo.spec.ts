import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterAll, describe, expect, test } from 'vitest'
import { ELSEWHERE } from '../../src/postgres/home.ts'
import { haveShared, liveness, shared } from '../support/product.ts'

const there = haveShared('the demonstration')
const folder = mkdtempSync(join(tmpdir(), 'liveness-demo-test-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Databases of demonstrations that lie outside their folder, which only its owner may enter when that is root. */
const leftElsewhere = () =>
  existsSync(ELSEWHERE) ? readdirSync(ELSEWHERE).filter((name) => name.startsWith('liveness-demo-')) : []

describe.skipIf(!there)('liveness demo', () => {
  test('checks photographs, draws the rectangle, shows the events and the usage, and leaves only the copies', async () => {
    const live = `${shared}faces/live/t1.jpg`
    const spoof = `${shared}faces/spoof/f1.jpg`
    // A production's Kafka, which it must not join: a start with these would be refused for want of a user name.
    const production = { KAFKA_BROKERS: '127.0.0.1:1', KAFKA_SASL_MECHANISM: 'plain' }
    const before = leftElsewhere()
    const output = await liveness({ ...production, TMPDIR: folder }, 'demo', live, spoof, '--into', folder)
    expect(output).toMatch(/t1\.jpg\n {2}live, likelihood of spoofing 0\.\d+/)
    expect(output).toMatch(/f1\.jpg\n {2}FAKE, likelihood of spoofing 0\.\d+/)
    expect(output.match(/DetectionSucceeded/g)).toHaveLength(2)
    expect(output).toMatch(/GET \/v1\/usage: 2 calls in .*: 98 of 100 left/)
    // Nothing else either: the models' runtime would keep its telemetry there.
    expect(readdirSync(folder).sort()).toEqual(['f1-checked.jpg', 't1-checked.jpg'])
    expect(leftElsewhere()).toEqual(before)

    const face = /face \d+×\d+ at \((\d+), (\d+)\)/.exec(output)
    const left = Number(face?.[1])
    const top = Number(face?.[2])
    const { data, info } = await sharp(join(folder, 't1-checked.jpg')).raw().toBuffer({ resolveWithObject: true })
    expect([info.width, info.height]).toEqual([480, 640])
    const [red = 0, green = 0, blue = 0] = data.subarray(((top + 40) * info.width + left) * info.channels)
    expect(green - Math.max(red, blue)).toBeGreaterThan(40)
  }, 120_000)
})
