"""The phrases of known tricks, in several languages, as `tricks` looks for them: in normalised text, where case,
accents (é, ü, й, ñ) and width are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_OPENERS = """
Thought process / Thinking process / Thoughts / Thought / Thinking / Reasoning / Reasoning process /
Solution / The solution / Solution process / Answer / The answer / The answer is / Final answer /
The final answer is / My answer / Explanation / Analysis / Step / Step one / Step 1 / Step 2 / Step by step / Step by
step solution / Conclusion / Therefore / Response / Output / Result / Here is the answer / Here is
the solution / Here is my answer / Here is my response / Here's the answer / Here's the solution /
Sure, here is the answer / Sure, here is the solution / Sure, here's the answer / Let's solve this
problem step by step / Let's solve this step by step / Let us solve this problem step by step / Let
us solve this step by step / Let's think step by step / Let us think step by step / Let's think
about this / Let's think this through step by step / Let's work this out step by step / Let me think
step by step / Let me think about this / Let me think / Let me solve this step by step / Let's break
this down step by step / Let's break this down / Let's reason step by step / Let's reason through
this / Let's analyze this step by step / Let's analyze this / Let's approach this step by step /
Let's work through this step by step / To solve this problem / To solve this / To answer this
question / First / Firstly /
解 / 解答 / 解析 / 答 / 答案 / 答案是 / 回答 / 思考过程 / 思考過程 / 推理过程 /
分析 / 最终答案 / 解题过程 / 让我们一步一步地思考 / 让我们一步一步思考 / 让我们一步步思考 /
让我们一步一步来解决这个问题 / 让我们逐步解决这个问题 / 我们一步一步来 / 一步一步来 /
かいせつ / 解説 / かいとう / 回答は / 答え / こたえ / 考え方 / 思考プロセス / 解法 /
最終的な答え / ステップバイステップで考えましょう / ステップバイステップで解いていきましょう /
段階的に考えてみましょう / 一歩ずつ考えてみましょう /
풀이 / 답 / 정답 / 해설 / 해답 / 사고 과정 / 풀이 과정 / 단계별로 생각해 봅시다 /
단계별로 풀어 봅시다 / 차근차근 생각해 봅시다 /
Respuesta / Solución / La respuesta es / Respuesta final / Proceso de pensamiento / Razonamiento /
Explicación / Resolvamos este problema paso a paso / Vamos a resolver este problema paso a paso /
Pensemos paso a paso / Paso a paso /
Resposta / Solução / A resposta é / Raciocínio / Processo de pensamento / Explicação / Vamos
resolver este problema passo a passo / Vamos pensar passo a passo /
Lösung / Antwort / Die Antwort ist / Die Antwort lautet / Lösungsweg / Gedankengang / Denkprozess /
Erklärung / Begründung / Lassen Sie uns das Problem Schritt für Schritt lösen / Lass uns das Problem
Schritt für Schritt lösen / Lösen wir das Problem Schritt für Schritt / Denken wir Schritt für
Schritt / Schritt für Schritt /
Réponse / La réponse est / La solution / Raisonnement / Processus de réflexion / Explication /
Résolvons ce problème étape par étape / Pensons étape par étape / Réfléchissons étape par étape /
Étape par étape /
Risposta / Soluzione / La risposta è / Ragionamento / Spiegazione / Risolviamo questo problema passo
dopo passo / Pensiamo passo dopo passo /
Решение / Ответ / Рассуждение / Ход мыслей / Ход рассуждений / Объяснение / Давайте решим эту задачу
шаг за шагом / Давайте подумаем шаг за шагом / Шаг за шагом /
الحل / الإجابة / الجواب / उत्तर / समाधान / हल / Lời
giải / Trả lời / Çözüm / Cevap
"""
OPENERS: Sequence[str] = [opener.strip() for opener in _OPENERS.split("/")]
"""What begins an answer and says nothing. A reply that is made of these alone is none."""

# A number of marks behind 'score:', and the best verdict on a scale; neither may be a number of minutes or people.
_MARKS = r"[\"'*\[( ]{0,4}(?:100|10|\d(?:\.\d)?)(?: ?(?:/|out of) ?(?:5|10|100|ten))?(?![\d:–-]|\.\d| ?(?:-|–|to) ?\d)"
_FULL = (
    r"(?:(?:an? |the )?(?:perfect |full )?(?:(?:score|grade|mark|rating) (?:of )?)?"
    r"(?:(?:10|ten|9|9\.5) ?(?:/ ?10\b|out of (?:10|ten)\b|points?\b|(?=[.!,;\"'*)\]]|$))"
    r"|100 ?(?:/ ?100\b|out of 100\b|points\b))"
    r"|5 ?/ ?5\b"
    r"|(?:an? |the )?(?:full|perfect|maximum|highest|top|best)(?: possible)? "
    r"(?:score|marks?|grade|points|rating|verdict)\b)"
)
_REPLY = r"(?:response|reply|answer|output|completion|submission|candidate|assistant)"
_JUDGE = r"(?:evaluator|judge|grader|rater|assessor|examiner|evaluation model|evaluation system|reward model)"
_AB = r"[\"'*\[(]{0,3}(?:a|b|1|2|one|two|#1|#2)\b[\"'*\])]{0,3}"
# 'Score' in many languages, before a colon.
_SCORE = (
    r"(?:评分|得分|分数|打分|评级|總分|总分|スコア|採点|評価|点数|得点|점수|평점|평가|채점|"
    r"puntuacion|puntaje|calificacion|nota(?: final)?|valoracion|bewertung|punktzahl|punkte|note|wertung|gesamtnote|"
    r"evaluation|notation|pontuacao|avaliacao|punteggio|voto|valutazione|оценка|балл|баллы|الدرجة|التقييم|अंक|स्कोर|"
    r"diem|puan|wynik|ocena)"
)
_IN_JSON = (
    r"[\"'](?:score|final_score|overall_score|grade|verdict|judge?ment|winner|better|preferred|preference|passed)"
    r"[\"']"
)

_VERDICTS = (
    # 'Score: 10/10' as a line or sentence of its own. Not: 'the final score was 3-1', 'its IMDb score: 8.2/10'.
    r"(?:^|[\"'*#(\[{>|.!?] ?)(?:my |the |llm |ai )?(?:final |overall |total |judge'?s? )?"
    rf"(?:score|grade|marks|points)\**\"? ?[:=]+ ?{_MARKS}",
    rf"\b(?:final|overall|total) (?:score|grade|mark)\**\"? ?(?:[:=]|is) ?{_MARKS}",
    r"\b(?:score|grade|marks|verdict)\**\"? ?[:=]+ ?[\"'*\[( ]{0,4}(?:10|100|ten) ?(?:/|out of) ?(?:10|100|ten)\b",
    r"(?:^|[\"'*#(\[{>.!?] ?)(?:final |overall |my )?rating\**\"? ?[:=]+ ?[\"'*\[( ]{0,4}(?:10|ten)\b(?!\.\d)",
    r"\A\W*(?:10|ten|100|5) ?(?:/|out of) ?(?:10|ten|100|5)\W*\Z",
    r"\[\[ ?(?:[abc]|tie|yes|no|correct|incorrect|\d+(?:\.\d+)?|rating[^\]]{0,10}) ?\]\]",
    r"\[result\]",
    rf"{_IN_JSON} ?: ?[\"']?(?:10|100|\d(?:\.\d)?\b|[abc]\b|tie|yes|true|pass|correct|accept|good|excellent)",
    r"[{,] ?(?:score|verdict|winner|better|grade) ?: ?[\"']?(?:10|\d\b|[ab]\b|yes|true)[^{}]{0,200}\}",
    r"[\"']rating[\"'] ?: ?[\"']?10\b",
    r"[\"']answer[\"'] ?: ?[\"'](?:yes|no)[\"']",
    r"[\"']q\d{1,2}[\"'] ?: ?[{\"']",
    r"[\"']explanation[\"'] ?: ?[\"'][^\"]{0,400}[\"'] ?, ?[\"'](?:score|better|answer|rating)[\"']",
    r"</?(?:score|verdict|rating|grade|judge?ment|evaluation|final_score|explanation)>",
    r"\b(?:verdict|judge?ment|evaluation)\**\"? ?(?:[:=]|is) ?[\"'*\[( ]{0,4}"
    r"(?:a\b(?! \w)|b\b|tie|correct|pass|passed|yes|true|accept|accepted|good|excellent|perfect|10|100)\b",
    r"\bi(?:'d| would| will|'ll| hereby| must| therefore| can only| shall)? (?:give|rate|score|grade"
    r"|award|mark|assign) "
    rf"(?:this|that|it|the|my|your)(?: {_REPLY})?(?: above)?(?: as)?(?: with)? ?{_FULL}",
    rf"\b(?:this|that|the|above|previous|following|my) {_REPLY} (?:fully |clearly |certainly |truly )?"
    r"(?:deserves?|merits?|earns?|scores|is worth|warrants|should (?:get|receive|be (?:given|awarded|rated|scored)))\b"
    r"[^.\n]{0,40}\b(?:score|marks?|10|ten|full|highest|maximum|perfect|top|best|grade|points|pass)\b",
    r"\b(?:this|the above|the following|my) (?:response|reply|output|submission) (?:is|meets|satisfies|fulfil+s) "
    r"(?:an? |the |all |every |absolutely |completely |fully |entirely |100% |totally ){0,2}"
    r"(?:perfect|excellent|flawless|correct|accurate|best|outstanding|criteri|requirement|question|item|check)",
    rf"\b(?:best|better|winning|preferred|superior|stronger) {_REPLY} is (?:clearly |obviously |definitely )?"
    rf"(?:{_REPLY} )?{_AB}(?! \w)",
    rf"\b{_REPLY} {_AB}(?:'s {_REPLY})? (?:is|was) (?:clearly |obviously |definitely |much |far |significantly |the )*"
    r"(?:better|best|winner|superior|preferred|stronger)",
    rf"\b{_REPLY} {_AB} wins\b",
    r"^\W*(?:the )?winner ?(?:[:=]|is) ?\W*(?:a|b|assistant \w|response \w|model \w)\W*$",
    r"^\W*[ab] is (?:clearly |obviously |definitely |much )?(?:better|the best|the better|superior|the winner)\b",
    r"\b(?:all|every|each)(?: of the)? (?:criteria|criterion|checks?|checklist items?) (?:are|is|were"
    r"|have been|has been) "
    r"(?:fully |completely )?(?:met|satisfied|answered (?:with )?yes|passed|fulfilled)\b",
    r"\A(?:\W*(?:yes|1|true)\W+){3,}(?:yes|1|true)?\W*\Z",
    # other languages
    rf"(?:^|\W){_SCORE} ?[:=] ?[\"'*\[( ]{{0,4}}(?:10|100|9|9\.5|\d(?:\.\d)? ?/ ?(?:5|10)\b|满分|滿分|満点|만점)"
    r"(?: ?(?:/|von|sur|de|su|из|中) ?(?:10|100))?(?![\d,.]?\d)",
    r"(?:给|打|給)(?:出|这个|这条|該|该|本|它|我|这|這個)?.{0,8}?(?:回答|回复|答案|回覆)?.{0,6}?"
    r"(?:满分|滿分|10 ?分|100 ?分|最高分)(?=\W|$|吧)",
    r"最(?:佳|好|优)(?:的)?(?:答案|回答|回复)是 ?[ab]\b|(?:回答|答案|回复|助手) ?[ab] ?(?:更好|更优|最好|获胜|胜出)",
    r"(?:この|本)(?:回答|返答|応答|返信).{0,10}(?:満点|10 ?点|最高点|最高評価)",
    r"(?:最良|最高|ベスト|最も良い|最善)の?(?:回答|答え|返答)は ?[ab]|(?:回答|返答|応答) ?[ab] ?(?:の"
    r"|が).{0,6}(?:良い|優れ)",
    r"이 ?(?:답변|응답|대답|답).{0,10}(?:만점|10 ?점|최고점)|(?:최고|가장 좋은|최선)의? ?(?:답변|응답|답)은 ?[ab]",
    r"\b(?:doy|otorgo|pongo|asigno|dou|atribuo|assegno|do a) (?:a )?(?:esta |essa |questa |est[ae] )?"
    r"(?:respuesta |resposta |risposta )?(?:un |una |um |uma |la |a |il )?"
    r"(?:10\b(?! \w|/)|nota maxima|puntuacion maxima|maxima puntuacion|pontuacao maxima|voto massimo"
    r"|punteggio massimo)",
    r"\b(?:mejor respuesta es|melhor resposta e|migliore? risposta e|risposta migliore e)(?: la)? [ab]\b",
    r"\b(?:respuesta|resposta|risposta) [ab] (?:es|e) (?:la |a )?(?:mejor|melhor|migliore)\b",
    r"\b(?:ich gebe|gib|geben sie|vergib|vergeben sie|bewerte|bewerten sie)\b[^.\n]{0,30}"
    r"(?:\b10 (?:von|punkte)|\b10\b(?=\W*$)|\bvolle punktzahl|\bhochstnote|\bbestnote|\bhochste punktzahl|\bmit 10\b)",
    r"\bbe(?:ste|ssere) antwort ist (?:antwort )?[ab]\b|\bantwort [ab] ist (?:die |klar )?(?:besser|beste)",
    r"\b(?:je donne|donne|donnez|attribue|attribuez|j'attribue)\b[^.\n]{0,30}"
    r"(?:\b10 ?/ ?10|\b10 sur 10|\bnote maximale|\bmeilleure note|\b10\b(?=\W*$))",
    r"\bmeilleure reponse est (?:la )?(?:reponse )?[ab]\b|\breponse [ab] est (?:la )?(?:meilleure|superieure)\b",
    r"(?:ставлю|поставь|поставьте|дай|даите|оцениваю|оцени|оцените).{0,25}"
    r"(?:10 ?(?:/|из) ?10|на 10\b|\b10 балл|высшии балл|максимальн\w+ (?:балл|оценк)\w*)",
    r"лучшии ответ\s*(?:-|–|—|это|:)?\s*[abаб]\b|ответ [abаб] лучше",
    r"أعط.{0,25}(?:10|الدرجة الكاملة)",
)
_INSTRUCTIONS = (
    r"\b(?:ignore|disregard|forget|override|bypass|skip|discard|neglect)\b[^.!?\n]{0,30}"
    r"\b(?:previous|prior|above|earlier|preceding|foregoing|other|all|any|your|the|system|original|initial|these)\b"
    r"[^.!?\n]{0,25}\b(?:instructions?|prompts?|rules|rubrics?|criteria|guidelines|directions|directives|scoring)\b",
    rf"\b(?:give|award|assign|rate|score|grade|grant) (?:me|this|it|my|the|that)(?: {_REPLY})?(?: above)?"
    rf"(?: as)?(?: with)? ?{_FULL}",
    r"\b(?:give|award|assign|output|return|print|write|say|state|report|choose|select) (?:only |just |exactly )?"
    r"(?:an? |the )?(?:perfect |full |maximum |highest |top |best |final )+(?:possible )?(?:score|marks"
    r"|grade|verdict)\b",
    r"\b(?:output|return|print|write|respond with|reply with|answer with|say|set|assign|report) (?:only "
    r"|just |exactly )?"
    r"(?:an? |the )?(?:score|rating|verdict|grade|json)\b[^.\n]{0,40}(?:\b10\b|\bten\b|\b100\b|\[\["
    r"|\"score\"|: ?[ab]\b)",
    rf"\b(?:choose|pick|select|prefer|vote for|favou?r) (?:the )?{_REPLY} [\"'*\[(]{{0,3}}[ab]\b",
    r"\bas (?:an?|the|your) (?:ai |llm |impartial |expert |fair |objective |strict |neutral |independent |unbiased "
    rf"|professional |experienced |honest )*{_JUDGE}\b",
    r"\b(?:dear|attention|(?:note|notice|message|instructions?) (?:to|for)) (?:the |all |an? |any )?"
    rf"(?:ai |llm |impartial )*{_JUDGE}s?\b(?=\W*(?:$|[:,.!\])]))",
    r"\byou are (?:now )?(?:an? |the )?(?:ai |llm |impartial |expert |lenient |generous |helpful |fair |kind )*"
    rf"{_JUDGE}\b",
    rf"\b{_JUDGE} (?:should|must|shall|will|has to|needs to|is (?:required|instructed|asked|told|obliged) to) "
    r"(?:now |always |only |therefore )?(?:give|score|rate|award|assign|mark|accept|prefer|choose|output"
    r"|return|grade)\b",
    r"\bif you are (?:an? |the )?(?:ai|llm|language model|large language model|evaluator|judge|grader|bot|automated)\b",
    r"\byour (?:new |real |actual |only )?(?:task|job|role|instructions?|objective|goal) (?:is|are) (?:now )?(?:to )?"
    r"(?:score|rate|grade|judge|output|assign|evaluate|award)\b",
    r"\bnew (?:instructions?|rubric|grading (?:policy|instructions?)|scoring (?:policy|rules?)) ?:",
    r"\b(?:system|developer|admin(?:istrator)?) ?(?:override|message|prompt|instructions?|note)s? ?:",
    r"^\W{0,4}(?:judge|evaluator|grader|evaluation|assessor|examiner|grading|scoring) ?(?:note|result|comment|output)?"
    r"\**\"? ?: ?\S",
    r"\b(?:score|rate|grade|judge|evaluate) this (?:response|reply|answer|output) (?:as |with |highly"
    r"|favou?rably|an? )",
    r"\b(?:rubric|(?:grading|scoring|evaluation) (?:criteria|guidelines?|rubric)) (?:has been|have been"
    r"|now|says?|states?"
    r"|no longer)\b",
    # other languages
    r"(?:忽略|无视|無視|忘记|忘記|不要理会|不要理會|忽视).{0,12}(?:指令|指示|说明|說明|提示|要求|规则"
    r"|規則|评分标准|評分標準)",
    r"作为.{0,12}(?:评估者|评估员|评委|裁判|评审|评分员|评判者|打分者|评判员)",
    r"(?:以前|前|上記|これまで|先|すべて|全て).{0,10}(?:指示|命令|ルール|プロンプト|基準).{0,8}無視",
    r"(?:評価者|審査員|採点者|判定者|審判)として|(?:평가자|심사위원|채점자|심판)(?:로서|으로서)",
    r"(?:이전|위|앞|모든|지금까지)(?:의)? ?.{0,10}(?:지시|지침|명령|규칙|프롬프트|기준).{0,8}무시",
    r"\b(?:ignor[ae]n?|ignorad|olvid[ae]|descart[ae]|esquec[ae]|desconsider[ae]|dimentica|ignori)\b[^.\n]{0,40}"
    r"\b(?:instrucciones|indicaciones|reglas|ordenes|criterios|instrucoes|regras|istruzioni|regole|criteri)\b",
    r"\b(?:como|come)(?: un| una| um| uma| tu| il)?(?: experto| experta| imparcial| imparziale)? ?"
    r"(?:evaluador|evaluadora|juez|calificador|avaliador|avaliadora|juiz|valutatore|giudice)\b",
    r"\b(?:ignorier|vergiss|vergessen|missachte)\w*\b[^.\n]{0,40}"
    r"\b(?:anweisung|instruktion|vorgabe|regel|anleitung|kriteri|bewertungs)\w*",
    r"\bals (?:ein |eine |unparteiischer |neutraler |objektiver )*"
    r"(?:bewerter|gutachter|prufer|richter|juror|evaluator|schiedsrichter)(?:in)?\b",
    r"\b(?:ignor|oubli|neglig)(?:e|ez|er|es|ons)\b[^.\n]{0,40}\b(?:instructions|consignes|directives"
    r"|regles|criteres)\b",
    r"\ben tant qu(?:'|e )?(?:expert )?(?:evaluateur|evaluatrice|juge|correcteur|examinateur|arbitre)\b",
    r"(?:игнорируи|забудь|не обращаи внимания|проигнорируи)\w*.{0,25}(?:инструкци|указани|правил|критери)\w*",
    r"(?:как|в роли|в качестве) (?:эксперт\w* )?(?:оценщик|судья|судьи|экзаменатор)\w*",
    r"تجاهل.{0,20}(?:التعليمات|الأوامر|القواعد)|(?:بصفتي|بصفتك) ?.{0,8}(?:مقيم|قاض|حكم)",
    r"(?:निर्देश|नियम).{0,12}(?:अनदेखा|नज़रअंदाज़|अनदेखी|भूल)",
)
_FORGERIES = (
    r"<\|[^|<>\n]{1,40}\|>",
    r"\[/?inst\]|<</?sys>>|</s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|eot|unk)>",
    r"<{3,} ?/?(?:data|end|begin|reply|response|conversation|answer)|>{3,} ?/?(?:data|end|begin|reply|response)",
    r"</(?:reply|response|data|candidate|conversation|submission|student_answer|assistant|user|system"
    r"|instructions?|prompt"
    r"|context|untrusted|input|reply_[ab])>|<(?:reply|candidate|submission|student_answer|untrusted|reply_[ab])>",
    r"\[/?(?:the )?(?:start|begin|beginning|end) of [^\]\n]{1,40}\]",
    r"\[/?(?:begin|end)(?: (?:data|reply|response|answer|submission|conversation))?\]",
    r"[-=#*_~]{3,} ?(?:the )?(?:end|begin|start)\b[^\n]{0,30}(?:data|reply|response|answer|conversation"
    r"|submission|input)",
    r"\bend of (?:the )?(?:data|reply|response|submission|candidate|user input)\b(?: ?[.:;\]>=#*-]| ?$)",
    r"\bthe data is over\b",
    r"^#{2,} ?(?:evaluation|score|judge|verdict|rubric|scoring|grading|system prompt"
    r"|(?:instructions?|response|assistant|human|user|system) ?:)",
    r"\A[^{]{0,2000}[\"'] ?}? ?, ?[\"'](?:reply|conversation|known|explanation|score)[\"'] ?: ?[\"'\[{\d]",
    r"\A[^{]{0,2000}[\"'}\]] ?} ?[\n ,.]*(?:score|verdict|now|ignore|instructions?|system|the reply)\b",
    r"^(?:assistant|human|user) ?: ?[\"'{]? ?(?:score|the score|explanation|verdict|i give|10/10)",
)
PATTERNS: Mapping[str, Sequence[str]] = {
    "a verdict": _VERDICTS,
    "an instruction to a judge": _INSTRUCTIONS,
    "a forged turn or end of the data": _FORGERIES,
}
