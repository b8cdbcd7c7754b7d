/** The letters of the accounts: plain text, short, and without anything that is of use to whoever reads them later. */

export interface Text {
  readonly subject: string
  readonly text: string
}

const product = 'Liveness Detection'
const letter = (subject: string, ...paragraphs: readonly string[]): Text => ({
  subject,
  text: `${[...paragraphs, `${product} API`].join('\n\n')}\n`,
})

const notYou = (publicUrl: string) =>
  `If this was not you, reset your password at ${publicUrl}/console/reset and tell whoever runs the service.`

export const activationLetter = (link: string): Text =>
  letter(
    `Activate your ${product} account`,
    'Your account is ready. Open this address to choose a password, set up an authenticator app and get your API keys:',
    link,
    'The address works once, and for 7 days.',
  )

export const authenticatorLetter = (link: string): Text =>
  letter(
    `Set up a new authenticator for ${product}`,
    'Your authenticator was removed from your account on request. Open this address, enter your password and set up a new one:',
    link,
    'The address works once, and for 7 days. Until then nobody can sign in to your account.',
  )

export const resetLetter = (code: string): Text =>
  letter(
    `${code} is your ${product} code`,
    `Enter this code to choose a new password: ${code}`,
    'It is good for 15 minutes. If you did not ask for it, do nothing: your password stays as it is.',
  )

export const passwordChangedLetter = (publicUrl: string): Text =>
  letter(
    'Your password was changed',
    `The password of your ${product} account was changed, and all its sessions were ended.`,
    notYou(publicUrl),
  )

export const authenticatorChangedLetter = (publicUrl: string): Text =>
  letter(
    'Your authenticator was changed',
    `A new authenticator was set up for your ${product} account. The old one, and the old recovery codes, no longer work.`,
    notYou(publicUrl),
  )

export const recoveryCodesChangedLetter = (publicUrl: string): Text =>
  letter(
    'Your recovery codes were replaced',
    `New recovery codes were made for your ${product} account. The old ones no longer work.`,
    notYou(publicUrl),
  )

export const confirmOldLetter = (link: string, publicUrl: string): Text =>
  letter(
    'Confirm the change of your e-mail address',
    `Another e-mail address is to be the one of your ${product} account. Open this address to agree:`,
    link,
    'It works for 24 hours. The change is made once both addresses have agreed.',
    notYou(publicUrl),
  )

export const confirmNewLetter = (link: string): Text =>
  letter(
    `Confirm this e-mail address for ${product}`,
    `This is to be the e-mail address of a ${product} account. Open this address to agree:`,
    link,
    'It works for 24 hours. The change is made once both addresses have agreed. If you know nothing of it, do nothing.',
  )

export const addressTakenLetter = (): Text =>
  letter(
    'This e-mail address has an account already',
    `Somebody asked to use this e-mail address for a ${product} account. It has one already, so nothing was changed.`,
  )

export const emailChangedLetter = (publicUrl: string): Text =>
  letter(
    'Your e-mail address was changed',
    `Your ${product} account has another e-mail address from now on; letters no longer go to this one.`,
    notYou(publicUrl),
  )
