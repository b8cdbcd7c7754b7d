import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Vitest begins with the largest files; the simulation's is small and runs long, and at the end it would run alone. */
class SimulationFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification) => moduleId.includes('/test/simulation/')
    const sorted = await super.sort(files)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.spec.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    sequence: { sequencer: SimulationFirst },
    // On two cores: many of the files wait for servers, brokers and browsers more than they compute.
    maxWorkers: 3,
    // A worker loads the libraries once and not for each file: half of the time of all imports. So a file leaves nothing behind in
    // its process: no changed environment, clock or listener.
    isolate: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
})
