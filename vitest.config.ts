import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** What runs for most of a minute and more. */
const long = [
  '/test/simulation/',
  '/test/e2e/',
  '/test/browser/',
  '/test/cli/commands',
  '/test/metering/kafka-feed-faults',
  '/test/relay/',
  '/test/move/migrate',
  '/test/backup/',
]

/** On a fresh clone vitest begins with the largest files; these are small, and at the end one of them would run alone. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification) => long.some((part) => moduleId.includes(part))
    const sorted = await super.sort(files)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.spec.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/month-end.ts'],
    sequence: { sequencer: LongFirst },
    // On two cores: many of the files wait for servers, brokers and browsers more than they compute.
    maxWorkers: 3,
    // A worker loads the libraries once and not for each file: half of the time of all imports. So a file leaves nothing behind in
    // its process: no changed environment, clock or listener.
    isolate: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Less than a test has, so that it is the condition that is named.
    expect: { poll: { timeout: 20_000 } },
  },
})
