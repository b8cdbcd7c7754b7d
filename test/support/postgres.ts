import { randomUUID } from 'node:crypto'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { startEmbeddedPostgres } from '../../src/postgres/embedded.ts'

/** Starts a Postgres of the tests' own in a temporary folder that `stop` removes. It does not fsync. */
export async function startTestPostgres(): Promise<{ url: string; stop: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'liveness-postgres-'))
  await chmod(folder, 0o755) // as root the server is another user, who must get in
  const server = await startEmbeddedPostgres({ dataDir: folder, durable: false })
  return {
    url: server.url,
    stop: async () => {
      await server.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/**
 * Makes an empty database beside the one `url` names, for one test or one spec file.
 *
 * @param template a database that the new one is a copy of; nobody may be connected to it
 * @returns the address of the new database
 */
export async function freshDatabase(url: string, template = 'template1'): Promise<string> {
  const name = `test_${randomUUID().replaceAll('-', '')}`
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const [to, from] = [name, template].map((one) => client.escapeIdentifier(one))
    await client.query(`create database ${to} template ${from}`)
  } finally {
    await client.end()
  }
  const fresh = new URL(url)
  fresh.pathname = `/${name}`
  return fresh.href
}
