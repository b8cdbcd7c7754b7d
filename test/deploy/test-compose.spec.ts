/** What `npm run test:compose` does on a machine without an engine. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { getContainerRuntimeClient } from 'testcontainers'
import { expect, test } from 'vitest'
import config from '../compose/vitest.config.ts'
import { root } from './compose-file.ts'

const engine = await getContainerRuntimeClient().catch(() => undefined)

function run(settings: Record<string, string>) {
  const { EVENTSTORE_URL: _, DATABASE_URL: __, KAFKA_BROKERS: ___, REQUIRE_DOCKER: ____, ...environment } = process.env
  const { status, stderr } = spawnSync('node_modules/.bin/tsx', ['test/compose/run.ts'], {
    cwd: root,
    env: { ...environment, ...settings },
    encoding: 'utf8',
  })
  return { status, said: stderr }
}

test.skipIf(engine !== undefined)('without an engine it says aloud that nothing is tested, and succeeds', () => {
  const { status, said } = run({})
  expect([status, said]).toEqual([0, expect.stringContaining('SKIPPED: test:compose needs a container engine')])
})

test.skipIf(engine !== undefined)('REQUIRE_DOCKER=1 makes that a failure', () => {
  const { status, said } = run({ REQUIRE_DOCKER: '1' })
  expect([status, said]).toEqual([1, expect.stringContaining('SKIPPED: test:compose needs a container engine')])
})

test('names suites that are there', () => {
  const include = config.test?.include ?? []
  expect(include.length).toBeGreaterThan(5)
  for (const file of include.filter((path) => !path.includes('*')))
    expect(existsSync(`${root}${file}`), file).toBe(true)
})
