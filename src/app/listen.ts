/** Listening, and in words why it cannot be. */
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { ConfigError } from '../config.ts'

/**
 * @param setting what names the port
 * @returns an address that a program on this machine can call; its port is another than asked for where that is 0
 * @throws ConfigError when the port is taken or reserved, or the host is no address of this machine
 */
export async function listen(
  app: Pick<FastifyInstance, 'listen' | 'server'>,
  { host, port }: { readonly host: string; readonly port: number },
  setting: 'PORT' | 'OPERATIONS_PORT',
): Promise<string> {
  await app.listen({ host, port }).catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError(sentenceOf(error.code, `${setting} ${port}`, host) ?? error.message, { cause: error })
  })
  return `http://${hostInUrl(host)}:${(app.server.address() as AddressInfo).port}`
}

function hostInUrl(host: string): string {
  if (['127.0.0.1', '0.0.0.0', '::', 'localhost'].includes(host)) return 'localhost'
  return host.includes(':') ? `[${host}]` : host
}

function sentenceOf(code: string | undefined, port: string, host: string): string | null {
  switch (code) {
    case 'EADDRINUSE':
      return `${port} on ${host} is in use by another program; set it to another.`
    case 'EACCES':
      return `${port} may be taken by root alone; set it to one from 1024.`
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `HOST ${host} is no address of this machine; 127.0.0.1 is for this machine alone, 0.0.0.0 for everybody.`
    default:
      return null
  }
}
