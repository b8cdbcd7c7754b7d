/** What is printed as the address of a server is one that can be called, whatever it listens on. */
import type { Server } from 'node:http'
import { expect, test } from 'vitest'
import { listen } from '../../src/app/listen.ts'

test.for([
  ['127.0.0.1', 'http://localhost:9464'],
  ['0.0.0.0', 'http://localhost:9464'],
  ['::', 'http://localhost:9464'],
  ['fd00::7', 'http://[fd00::7]:9464'],
  ['10.0.0.7', 'http://10.0.0.7:9464'],
] as const)('listening on %s it is called at %s', async ([host, url]) => {
  const server = { address: () => ({ port: 9464 }) } as unknown as Server
  expect(await listen({ listen: async () => '', server }, { host, port: 0 }, 'OPERATIONS_PORT')).toBe(url)
})
