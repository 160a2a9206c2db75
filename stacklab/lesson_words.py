"""What a lesson says by itself, in each language that lessons are written in."""

WORDS = {
    "en": {
        "replayed": "**A recording.** Nothing is measured here: each cell shows what a real lab told when it was recorded. "
        "Without `STACKLAB_REPLAY=1` in the environment the same cells measure your own.",
        "nothing_to_change": "Nothing to change: it is set so already.",
        "as_found": "The settings are as they were found.",
        "no_prediction": "Nothing is predicted yet. Write your numbers into the cell and run it again, or use the form; or go on "
        "without. A wrong prediction teaches more than none.",
        "seal": "Seal it",
        "one_is_missing": "One is missing yet.",
        "no_chat_here": "The chat's page is on a lab that is up; this is a recording.",
        "sealed": "Sealed: {said}.",
        "sealed_late": "Kept: {said}. The measurement had been shown by then.",
        "what": "what",
        "predicted": "you predicted",
        "measured": "measured",
        "how_near": "how near",
        "hit": "a hit",
        "miss": "something else came",
        "off": "{times} times off",
        "not_predicted": "You predicted nothing here.",
        "judged_of": "The verdict uses {runs} runs of `{experiment}`, in **{blocks}** blocks.",
        "recorded_says": "So on your machine it is open. Runs recorded on another ({when}) say: **{verdict}**.",
    },
    "ko": {
        "replayed": "**녹화본입니다.** 여기서는 아무것도 측정하지 않습니다. "
        "각 셀은 이 수업을 녹화할 때 실제 랩이 답한 내용을 보여 줍니다. "
        "환경 변수 `STACKLAB_REPLAY=1` 없이 실행하면 같은 셀이 여러분의 랩을 직접 측정합니다.",
        "nothing_to_change": "바꿀 것이 없습니다. 이미 그렇게 설정되어 있습니다.",
        "as_found": "설정은 처음 그대로입니다.",
        "no_prediction": "아직 예측이 없습니다. 셀에 숫자를 적고 다시 실행하거나 아래 양식을 쓰세요. 그냥 넘어가도 되지만, "
        "틀린 예측이 예측하지 않는 것보다 더 많이 가르쳐 줍니다.",
        "seal": "봉인",
        "one_is_missing": "아직 비어 있는 칸이 있습니다.",
        "no_chat_here": "채팅 페이지는 켜져 있는 랩에 있습니다. 여기는 녹화본입니다.",
        "sealed": "봉인했습니다: {said}.",
        "sealed_late": "적어 두었습니다: {said}. 다만 측정 결과를 본 뒤의 값입니다.",
        "what": "항목",
        "predicted": "예측",
        "measured": "측정",
        "how_near": "얼마나 가까운가",
        "hit": "적중",
        "miss": "다른 결과",
        "off": "{times}배 차이",
        "not_predicted": "여기서는 예측하지 않았습니다.",
        "judged_of": "판정에는 `{experiment}`의 측정 {runs}개(블록 **{blocks}**개)를 사용합니다.",
        "recorded_says": "여러분의 컴퓨터에서는 아직 판정할 수 없습니다. "
        "다른 컴퓨터의 녹화본({when})은 이렇게 말합니다: **{verdict}**.",
    },
}
