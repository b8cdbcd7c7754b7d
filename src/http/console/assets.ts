/**
 * The stylesheet, the script and the icon of the console: read once, served under a name that holds the hash of their content, so
 * that a browser may keep them for ever and never shows a page of this version with a stylesheet of another.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import { packageRoot } from '../../built.ts'

interface Asset {
  readonly url: string
  readonly type: string
  readonly body: string
}

function asset(file: string, type: string): Asset {
  const body = readFileSync(new URL(`src/http/console/${file}`, packageRoot), 'utf8')
  const hash = createHash('sha256').update(body).digest('hex').slice(0, 12)
  const [name, extension] = (file.split('/').at(-1) ?? file).split('.')
  return { url: `/console/assets/${name}.${hash}.${extension}`, type, body }
}

export const stylesheet = asset('console.css', 'text/css; charset=utf-8')
export const script = asset('client/console.js', 'text/javascript; charset=utf-8')
export const icon = asset('client/icon.svg', 'image/svg+xml')

/** Serves them. They are public: the landing page and the sign-in page use them too. */
export function registerAssets(app: FastifyInstance): void {
  for (const { url, type, body } of [stylesheet, script, icon]) {
    app.get(url, { schema: { hide: true } }, async (_request, reply) =>
      reply.header('cache-control', 'public, max-age=31536000, immutable').type(type).send(body),
    )
  }
}
