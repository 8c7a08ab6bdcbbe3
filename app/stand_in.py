"""What the channels' stand-ins are given: their side of the keys, our public side, and in a simulation the seed and a set clock.

Knows settings, key files and the stand-ins' configurations; must not know their rules. Called by ``tongting sandbox``, and where
keys are made. Imported nowhere else: a process that handles real money never loads a stand-in.
"""

from collections.abc import Callable, Mapping

from app import demo
from app.channels import Files, present, read_files
from app.keys import SANDBOX_PUBLIC_KEY_ID, read, rsa_private, sandbox_keys_dir
from app.wiring import party_ids
from config.settings import Settings
from gateways.sandbox.alipay import demo as alipay
from gateways.sandbox.alipay.stand_in import AlipayStandIn
from gateways.sandbox.etc import demo as etc
from gateways.sandbox.etc.desk import TcpConfig
from gateways.sandbox.etc.stand_in import EtcStandIn
from gateways.sandbox.stand_in import DemoKeys, KeySource, StandIn, Surroundings
from gateways.sandbox.unionpay import demo as unionpay
from gateways.sandbox.unionpay.stand_in import UnionPayStandIn
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
        merchant_key=rsa_private(settings.keys_dir / "wechat" / "merchant.pem").public_key(),
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


def other_stand_ins(settings: Settings, config: SandboxConfig) -> list[StandIn]:
    """Return the stand-ins beside WeChat's, with the same clock and seed as its own."""
    around = Surroundings(
        state_dir=settings.home / "stand-ins",
        base_url=settings.sandbox_url,
        clock=config.clock,
        manual=config.manual,
        seed=config.seed,
        time_factor=config.time_factor,
        fee_bps=config.fee_bps,
    )
    own = sandbox_keys_dir(settings)
    notices = f"http://{settings.callback_host}:{settings.callback_port}/callbacks/etc"
    made: dict[str, Callable[[Files], StandIn]] = {
        "alipay": lambda files: AlipayStandIn(around, alipay.config(files)),
        "unionpay": lambda files: UnionPayStandIn(around, unionpay.config(files)),
        "etc": lambda files: EtcStandIn(around, etc.config(files, notify_url=notices, tcp=network_centre(settings))),
    }
    return [make(read_files(own / name)) for name, make in made.items() if name in present(settings)]


def network_centre(settings: Settings) -> TcpConfig | None:
    """Return the stand-in's side of the province's line, on this machine; None where the dialect is another one."""
    if settings.etc_dialect != "jiangsu":
        return None
    host = "127.0.0.1" if settings.etc_line_host == "0.0.0.0" else settings.etc_line_host
    return TcpConfig(
        port=settings.etc_centre_port, peer_host=host, peer_port=settings.etc_line_port, centre=settings.etc_centre_id.upper(),
        peer=settings.etc_sender_id.upper(), parties=party_ids(settings),
    )  # fmt: skip


def demo_keys(source: KeySource) -> Mapping[str, DemoKeys]:
    """Return demo key files of both sides for each channel but WeChat; the operators of the demo city are its merchants."""
    return {
        "alipay": alipay.make(source, merchants=demo.platform_merchants("alipay"), own=demo.own_keys("alipay")),
        "unionpay": unionpay.make(source, own=demo.own_keys("unionpay")),
        "etc": etc.make(source),
    }
