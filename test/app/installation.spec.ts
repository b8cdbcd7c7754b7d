import { expect, inject, test } from 'vitest'
import { chooseRoles } from '../../src/app/roles.ts'
import { checkSecretsKey } from '../../src/app/secrets.ts'
import { ConfigError, loadConfig } from '../../src/config.ts'
import { migrate } from '../../src/postgres/migrate.ts'
import { connect } from '../../src/postgres/pool.ts'
import { freshDatabase } from '../support/postgres.ts'

test('a database knows the SECRETS_KEY it was first used with and refuses every other', async () => {
  const url = await freshDatabase(inject('postgresUrl'))
  await migrate(url)
  const pool = connect(url)
  const first = Buffer.alloc(32, 1)
  await checkSecretsKey(pool, first)
  await checkSecretsKey(pool, first)
  await expect(checkSecretsKey(pool, Buffer.alloc(32, 2))).rejects.toThrow(/^SECRETS_KEY is not the one/)
  const { rows } = await pool.query('select * from installation')
  expect(JSON.stringify(rows)).not.toContain(first.toString('hex'))
  await pool.end()
})

test('roles are split only where both servers are somebody else’s', () => {
  const config = (more: Record<string, string>) => loadConfig(more, '/nowhere').config
  const outside = { DATABASE_URL: 'postgres://db', EVENTSTORE_URL: 'esdb://store' }
  expect(() => chooseRoles(config({ ROLES: 'api' }))).toThrow(ConfigError)
  expect(() => chooseRoles(config({ DATABASE_URL: outside.DATABASE_URL, ROLES: 'projections' }))).toThrow(/^ROLES/)
  expect(chooseRoles(config({ ROLES: 'metering,api,projections' }))).toEqual(['metering', 'api', 'projections'])
  expect(chooseRoles(config({ ...outside, ROLES: 'api,api' }))).toEqual(['api'])
})

test('without Kafka nobody relays, and asking for it is refused', () => {
  const config = (more: Record<string, string>) => loadConfig(more, '/nowhere').config
  expect(chooseRoles(config({}))).toEqual(['api', 'projections', 'metering'])
  expect(chooseRoles(config({ KAFKA_BROKERS: 'kafka:9092' }))).toEqual(['api', 'projections', 'relay', 'metering'])
  const outside = { DATABASE_URL: 'postgres://db', EVENTSTORE_URL: 'esdb://store' }
  expect(() => chooseRoles(config({ ...outside, ROLES: 'relay' }))).toThrow(
    'ROLES names relay, which needs KAFKA_BROKERS',
  )
})
