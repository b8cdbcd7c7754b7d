/** A certificate authority made for one spec file, and a certificate of localhost that it signed. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Certificates {
  readonly caFile: string
  readonly certFile: string
  readonly keyFile: string
}

/** Needs the command openssl, which Node's own crypto cannot replace: it makes no certificates. */
export function makeCertificates(folder: string, name: string): Certificates {
  const at = (file: string) => join(folder, `${name}-${file}`)
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' })
  const [caKey, caFile, keyFile, certFile, request, extensions] = [
    at('ca.key'),
    at('ca.crt'),
    at('server.key'),
    at('server.crt'),
    at('server.csr'),
    at('server.ext'),
  ] as [string, string, string, string, string, string]
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  openssl('req', '-x509', ...curve, '-keyout', caKey, '-out', caFile, '-days', '2', '-subj', `/CN=${name} authority`)
  openssl('req', ...curve, '-keyout', keyFile, '-out', request, '-subj', '/CN=localhost')
  writeFileSync(extensions, 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n')
  const signing = ['-CA', caFile, '-CAkey', caKey, '-CAcreateserial', '-days', '2', '-extfile', extensions]
  openssl('x509', '-req', '-in', request, ...signing, '-out', certFile)
  return { caFile, certFile, keyFile }
}
