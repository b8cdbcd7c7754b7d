/** A listener that asks for TLS and a sign-in, by PLAIN or by SCRAM-SHA-256, as its properties have it. */
export interface Secured {
  readonly port: number
  /** PEM: the private key as PKCS #8, followed by its certificate. */
  readonly keyAndCertificateFile: string
  /** Without quotes, commas and brackets: they are Kafka's own. */
  readonly username: string
  readonly password: string
}

export function securedListener({ keyAndCertificateFile, username, password }: Secured): Record<string, string> {
  const security = 'org.apache.kafka.common.security'
  return {
    'ssl.keystore.type': 'PEM',
    'ssl.keystore.location': keyAndCertificateFile,
    'listener.name.secured.sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256',
    'listener.name.secured.plain.sasl.jaas.config': `${security}.plain.PlainLoginModule required user_${username}="${password}";`,
    'listener.name.secured.scram-sha-256.sasl.jaas.config': `${security}.scram.ScramLoginModule required;`,
  }
}

/** For `--add-scram`: PLAIN's users stand in the properties, SCRAM's in the log. */
export function scramUser({ username, password }: Secured): string {
  return `SCRAM-SHA-256=[name=${username},password=${password}]`
}
