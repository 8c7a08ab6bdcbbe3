"""What the channel stand-in is given: its side of the keys, our public side, and in a simulation the seed and a set clock.

Knows settings, key files and the sandbox's configuration; must not know its rules. Called by ``tongting sandbox``.
"""

from app.keys import SANDBOX_PUBLIC_KEY_ID, read, rsa_private, sandbox_keys_dir
from config.settings import Settings
from gateways.sandbox.wechat.desk import SandboxConfig
from gateways.sandbox.wechat.signing import IssuedCertificate, Signer
from ledger.clock import SetClock, SystemClock


def sandbox_config(settings: Settings) -> SandboxConfig:
    """Return the stand-in's configuration. Its state lies in one file below home, so that it survives a restart.

    Raises:
        SettingsError: a key is missing or unreadable.
    """
    keys, own = read(settings).wechat, sandbox_keys_dir(settings)
    return SandboxConfig(
        state_path=settings.home / "sandbox.sqlite",
        base_url=settings.sandbox_url,
        provider_no=settings.wechat_provider_no,
        app_id=settings.wechat_app_id,
        app_secret=keys.app_secret,
        api_key=keys.apiv3_key,
        merchant_key=keys.merchant_key.public_key(),
        merchant_serial=keys.merchant_serial,
        certificate=IssuedCertificate(
            certificate=(own / "certificate.pem").read_bytes(), key=(own / "certificate-key.pem").read_bytes()
        ),
        public_key=Signer(serial=SANDBOX_PUBLIC_KEY_ID, key=rsa_private(own / f"{SANDBOX_PUBLIC_KEY_ID}.pem")),
        time_factor=1.0 if settings.simulated else settings.sandbox_time_factor,  # a set clock passes quickly by itself
        fee_bps=settings.sandbox_fee_bps,
        clock=SetClock(settings.simulated_start_at) if settings.simulated else SystemClock(),
        manual=settings.simulated,
        seed=str(settings.simulated_seed) if settings.simulated else None,
    )
