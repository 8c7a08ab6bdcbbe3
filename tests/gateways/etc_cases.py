"""One charge, one package and both sides' keys, which the ETC tests change to tell their stories."""

from datetime import UTC, date, datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from msgspec.structs import replace

from gateways.etc import sm2
from gateways.etc.clearing import Package
from gateways.etc.codes import PlateColour
from gateways.etc.record import PackingRules, TransactionRecord, charge_id
from gateways.etc.sign import OurKey, TheirKey

NOW: Final = datetime(2025, 6, 18, 7, 0, tzinfo=UTC)
PAID_AT: Final = datetime(2025, 6, 18, 6, 34, 34, tzinfo=UTC)
ENTERED_AT: Final = datetime(2025, 6, 18, 5, 0, 34, tzinfo=UTC)
TAC_KEY: Final = bytes.fromhex("11223344556677888877665544332211")
US: Final = "00000000000000FE"
THEM: Final = "00000000000000FD"
LOT_NO: Final = "3201020001"
MESSAGE_NO: Final = "00000000000000000042"
CLEAR_ON: Final = date(2025, 6, 19)

RECORD: Final = TransactionRecord(
    charge_id="32010200012025061814343407",
    lot_no=LOT_NO,
    clearing_party_no="320201",
    issuer_no="320101",
    happened_at=PAID_AT,
    parked_minutes=94,
    fee_fen=1500,
    card_type=22,
    card_net="3201",
    card_no="2200123456789012",
    obu_no="3201011234567890",
    obu_state="0000",
    plate="苏BD12345",
    colour=PlateColour.GRADIENT_GREEN,
    vehicle_type=1,
    tac="E2D839B8",
    trans_type="09",
    terminal_no="01320002D9F7",
    terminal_serial="000017D5",
    card_counter="0DA2",
    pre_balance_fen=10_000,
    post_balance_fen=8_500,
    entered_at=ENTERED_AT,
    lot_name="人民路停车场",
    obu_net="3201",
    station_no="0101",
    entry_lane_no="01",
    exit_lane_no="02",
)
RULES: Final = PackingRules(own_network="3201", lots_active=frozenset({LOT_NO}))


def changed(**fields: Any) -> TransactionRecord:
    return replace(RECORD, **fields)


def charge(number: int, fee_fen: int) -> TransactionRecord:
    """A charge with a serial of its own; the balances follow the fee."""
    return replace(
        RECORD,
        charge_id=charge_id(lot_no=LOT_NO, at=datetime.fromtimestamp(PAID_AT.timestamp() + number, UTC), lane_serial=number),
        fee_fen=fee_fen,
        post_balance_fen=RECORD.pre_balance_fen - fee_fen,
    )


def package(*fees_fen: int, message_no: str = MESSAGE_NO) -> Package:
    return Package(
        message_no=message_no,
        clear_on=CLEAR_ON,
        service_provider_no="320201",
        issuer_no="320101",
        records=tuple(charge(number, fee_fen) for number, fee_fen in enumerate(fees_fen, 1)),
    )


OUR_SM2: Final = OurKey("our-1", sm2.PrivateKey(0x1234567890ABCDEF))
THEIR_SM2: Final = OurKey("their-1", sm2.PrivateKey(0xFEDCBA0987654321))


def told(key: OurKey, party: str) -> TheirKey:
    """What the other side knows of a key."""
    assert isinstance(key.key, sm2.PrivateKey | RSAPrivateKey)
    public = key.key.public if isinstance(key.key, sm2.PrivateKey) else key.key.public_key()
    return TheirKey(key.key_id, party, public)
