"""The words of the sample documents, English and Chinese, and the `Author` that makes sentences of them."""

import random
import re
from collections.abc import Mapping

SENTENCES = {
    "en": (
        "the {adj} {noun} {verb} the {noun} {tail}.",
        "{lead}, every {noun} {verb} the {adj} {noun} and the {noun} {tail}.",
        "no {noun} {verb} the {noun}, but the {adj} {noun} {verb} another {tail}.",
    ),
    "zh": (
        "{lead}，{adj}的{noun}{verb}了{noun}。",
        "{noun}与{noun}{tail}{verb}{adj}的{noun}。",
        "{adj}的{noun}{tail}{verb}{noun}，{noun}也{verb}{noun}。",
    ),
}
TITLES = {
    "en": ("{adj} {noun} and the {adj} {noun}", "on the {noun} of the {adj} {noun}", "{noun}, {noun} and {adj} {noun}"),
    "zh": ("{adj}的{noun}与{noun}", "论{noun}的{adj}{noun}", "{adj}{noun}及其{noun}"),
}
SLOTS = ("noun", "adj", "verb", "lead", "tail")
WORDS = {  # the words for each slot, in the order of SLOTS
    ("en", "study"): "model,sample,layer,sensor,estimate,network,signal,baseline,kernel,spectrum,boundary,response|"
    "sparse,robust,linear,thermal,hidden,stable,noisy|improves,limits,predicts,measures,follows,reduces,explains|"
    "in practice,by contrast,for small samples,after training,in this regime|by a factor of three,across all trials",
    ("en", "story"): "harbour,lamp,garden,stranger,window,river,letter,staircase,orchard,silence,captain,road|"
    "old,quiet,narrow,golden,distant,empty,patient,cold|followed,remembered,crossed,awaited,answered,hid,outlived|"
    "that evening,years later,before the rain,in the spring|until morning,under the grey sky,for the last time",
    ("en", "office"): "contract,delivery,report,budget,team,schedule,customer,service,order,project,branch,review|"
    "annual,revised,regional,detailed,final,internal,joint|confirms,supports,replaces,covers,extends,improves|"
    "as agreed,in the second quarter,on this basis,until further notice|at no extra cost,according to plan",
    ("zh", "study"): "模型,样本,网络,信号,误差,频谱,边界,温度,算法,数据集,参数|稀疏,稳健,线性,局部,复杂,有效|"
    "改善,限制,预测,测量,解释,验证|实验表明,与此相反,在低温条件下,经过训练以后|在误差范围内,明显地,同时,逐步",
    ("zh", "story"): "港口,灯火,院子,陌生人,窗子,河水,来信,石阶,果园,老船长,月光|古老,安静,狭窄,金黄,遥远,空荡,清冷|"
    "等待,记起,穿过,跟随,照亮,送别,遗忘|那天傍晚,许多年以后,下雨之前,春天来的时候|一直到天亮,静静地,最后一次,慢慢",
    ("zh", "office"): "合同,订单,报告,预算,项目组,客户,服务,计划,交货期,分公司,流程|年度,修订,区域,详细,最终,内部|"
    "确认,支持,替换,涵盖,延长,落实,改进|根据双方约定,第二季度以来,在此基础上|于本月底前,按计划,在各部门,如期",
}
LISTS = {
    "first": ("Clara,Hugh,Miriam,Tobias,Elena,Owen,Ruth,Ida,Felix", "明,丽华,志强,晓燕,文博,思远,佳,海涛,雨桐"),
    "last": ("Whitlock,Marsh,Ferro,Lindqvist,Okafor,Castell,Duval,Harrow", "陈,林,周,吴,郑,孙,赵,许,何,罗"),
    "city": ("Northam,Eastbridge,Calder,Port Allan,Wexley", "临江市,东桥区,南安县,望海市,青石镇"),
    "company": (
        "Harbour & Pine Ltd,Calder Instruments,Brightwater Logistics,Oakfield Partners,Meridian Paper Co.",
        "远山科技有限公司,长河贸易有限公司,明湖精密仪器厂,东岸物流有限公司,新叶文化传媒公司",
    ),
    "role": ("Data Analyst,Project Manager,Engineer,Lab Assistant", "数据分析师,项目经理,工程师,实验室助理"),
    "school": (
        "Calder University,Northam Institute of Technology,Wexley College,Eastbridge School of Economics",
        "临江大学,东桥理工学院,望海师范大学,青石经济学院",
    ),
    "degree": (
        "PhD in Statistics,MSc in Physics,MA in Economics,BSc in Chemistry,BA in History,BEng in Mechanics",
        "统计学博士,物理学硕士,经济学硕士,化学学士,历史学学士,机械工程学士",
    ),
    "item": (
        "Desk lamp,Printer paper,Consulting hours,Steel bracket,Coffee beans,Cable 2 m,Site visit,Notebook",
        "台灯,打印纸,技术服务费,钢制支架,咖啡豆,网络线缆,现场检修,笔记本",
    ),
    "skill": ("Python,SQL,Statistics,Writing,German,Design,Teaching", "编程,数据库,统计学,写作,英语,设计,教学"),
    "field": (
        "Surname,Given name,Date of birth,Nationality,Street and number,Postcode,Telephone,E-mail,Occupation,Employer",
        "姓名,性别,出生日期,民族,身份证号,联系电话,电子邮箱,工作单位,职务,家庭住址",
    ),
}


class Author:
    """Invents names, figures and sentences in one language, "en" or "zh", with the document's random generator."""

    def __init__(self, rng: random.Random, language: str) -> None:
        self.rng = rng
        self.language = language

    def say(self, english: str, chinese: str) -> str:
        """Return the one of two texts that is in the author's language."""
        return english if self.language == "en" else chinese

    def pick(self, key: str, count: int = 1) -> list[str]:
        """Return different entries of one of the word lists."""
        return self.rng.sample(self.say(*LISTS[key]).split(","), count)

    def ranked(self, key: str, count: int) -> list[str]:
        """Return different entries of one of the word lists, in the order of the list."""
        entries = self.say(*LISTS[key]).split(",")
        return [entries[place] for place in sorted(self.rng.sample(range(len(entries)), count))]

    def sentence(self, theme: str, templates: Mapping[str, tuple[str, ...]] = SENTENCES) -> str:
        """Return one sentence of a theme ("study", "story" or "office")."""
        words = dict(zip(SLOTS, WORDS[self.language, theme].split("|"), strict=True))
        template = self.rng.choice(templates[self.language])
        text = re.sub(r"\{(\w+)\}", lambda slot: self.rng.choice(words[slot[1]].split(",")), template)
        return text[0].upper() + text[1:]

    def prose(self, theme: str, least: int, most: int) -> str:
        """Return a paragraph of so many sentences."""
        return self.say(" ", "").join(self.sentence(theme) for _ in range(self.rng.randint(least, most)))

    def title(self, theme: str) -> str:
        """Return a heading."""
        return self.sentence(theme, TITLES)

    def name(self) -> str:
        """Return a person's name."""
        first, last = *self.pick("first"), *self.pick("last")
        return self.say(f"{first} {last}", last + first)

    def date(self) -> str:
        """Return a date of recent years."""
        year, month, day = self.rng.randint(2015, 2025), self.rng.randint(1, 12), self.rng.randint(1, 28)
        return self.say(f"{day:02}/{month:02}/{year}", f"{year}年{month}月{day}日")

    def digits(self, count: int) -> str:
        """Return a number with so many digits, leading zeros included."""
        return f"{self.rng.randrange(10**count):0{count}}"

    def address(self) -> str:
        """Return a postal address."""
        street, city = self.rng.randint(2, 300), *self.pick("city")
        return self.say(f"{street} Mill Lane, {city}", f"{city}和平路{street}号")

    def contact(self) -> list[str]:
        """Return address, telephone number and e-mail address."""
        return [self.address(), f"+{self.digits(2)} {self.digits(9)}", f"mail{self.digits(3)}@example.org"]

    def goods(self, count: int) -> tuple[list[list[str]], float]:
        """Return the rows of a bill (item, quantity, price, amount) and their sum."""
        items, rng = self.pick("item", count), self.rng
        lots = [(item, rng.randint(1, 12), rng.randint(150, 90000) / 100) for item in items]
        rows = [[item, str(many), f"{price:,.2f}", f"{many * price:,.2f}"] for item, many, price in lots]
        return rows, sum(many * price for _, many, price in lots)
