import pickle

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason


def test_an_error_is_code_message_and_details_with_the_reason():
    error = HarmonyError(
        ErrorCode.RATE_LIMITED, Reason.COOLDOWN, "Wait until noon.", retry_after_s=60
    )

    assert error.as_dict() == {
        "code": "RATE_LIMITED",
        "message": "Wait until noon.",
        "details": {"reason": "cooldown", "retry_after_s": 60},
    }
    assert str(error) == "Wait until noon."


def test_an_error_stays_whole_between_processes():
    error = HarmonyError(ErrorCode.NOT_FOUND, Reason.NO_COVER, "No cover.", file="a.flac")

    assert pickle.loads(pickle.dumps(error)).as_dict() == error.as_dict()


def test_every_reason_is_a_word_of_its_own():
    assert all(reason == reason.lower() and " " not in reason for reason in Reason)
    assert len(set(Reason)) == len(Reason.__members__)
