import type { TestProject } from 'vitest/node'
import { startTestPostgres } from './postgres.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Address of a Postgres that all spec files of a run share; `freshDatabase` makes a database in it. */
    postgresUrl: string
  }
}

/**
 * One Postgres for the whole run; its start takes about a second. `npm run test:compose` names another one, whose user
 * may create databases.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const named = process.env.TEST_DATABASE_URL
  if (named) {
    project.provide('postgresUrl', named)
    return async () => {}
  }
  const postgres = await startTestPostgres()
  project.provide('postgresUrl', postgres.url)
  return postgres.stop
}
