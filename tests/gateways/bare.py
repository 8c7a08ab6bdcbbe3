"""A WeChat adapter with a ring whose signatures repeat, without any key of the channel: what it is sent, nothing verifies."""

from typing import Final

from msgspec import Struct

from gateways.keys import KeyRing
from gateways.wechat.channel import Provider, WeChat
from tests.gateways.conftest import APP_ID, PROVIDER_NO
from tests.gateways.test_vectors import SAMPLE_KEY

NONCE: Final = "593BEC0C930BF1AFEB40B4A08C8FB242"


class Bare(Struct, frozen=True):
    """The adapter and its ring."""

    channel: WeChat
    golden_keys: KeyRing


def wechat_case() -> Bare:
    keys = KeyRing(
        merchant_key=SAMPLE_KEY,
        merchant_serial="3775B6A45ACD588826D15E583A95F5DD00000000",
        api_key=b"0" * 32,
        channel_keys=(),
        preferred_serial="PUB_KEY_ID_0114232134912410000000000000",
    )
    return Bare(WeChat(Provider(provider_no=PROVIDER_NO, app_id=APP_ID, notify_url="https://pay.example/callbacks/wechat")), keys)
